//! What was found out about this box: the newest of everything, and the newest forecasts with what came of them.

use std::fmt::Display;
use std::str::FromStr;

use rusqlite::{Connection, Row, params};

use super::{Answer, LedgerError};
use crate::placement::learned::FORECASTS;
use crate::placement::{Basis, Experience, Finding, Forecast, Learned, Origin, Sample, Speed, Walk};
use crate::units::{Bytes, Timestamp};

/// Speeds, and steps, that are kept: those of several libraries and drivers, should somebody go back to one.
const KEPT: i64 = 200;

pub(super) fn learn(connection: &Connection, learned: &[Learned], forecast: Option<&Forecast>) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("remember a measurement");
    for one in learned {
        remember(connection, one).map_err(sqlite())?;
    }
    for table in ["speeds", "steps"] {
        let forget = format!("DELETE FROM {table} WHERE found < (SELECT found FROM {table} ORDER BY found DESC LIMIT 1 OFFSET ?1)");
        connection.execute(&forget, [KEPT]).map_err(sqlite())?;
    }
    if let Some(Forecast { basis, model, walk, predicted_s, measured_s, calibrated }) = forecast {
        let mut insert = connection
            .prepare_cached(
                "INSERT INTO forecasts (compute, precision, engine, model, weights, flops, predicted_s, measured_s, calibrated)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )
            .map_err(sqlite())?;
        let (compute, precision) = (basis.compute.to_string(), basis.precision.name());
        let (weights, flops) = (walk.map(|w| whole(w.weights)), walk.map(|w| w.flops));
        let values = params![compute, precision, basis.engine, model, weights, flops, predicted_s, measured_s, calibrated];
        insert.execute(values).map_err(sqlite())?;
        let forget = "DELETE FROM forecasts WHERE id <= (SELECT max(id) FROM forecasts) - ?1";
        connection.execute(forget, [i64::try_from(FORECASTS).unwrap_or(i64::MAX)]).map_err(sqlite())?;
    }
    Ok(Answer::Done)
}

fn remember(connection: &Connection, learned: &Learned) -> rusqlite::Result<usize> {
    let Learned { basis, finding, found, origin } = learned;
    let (compute, precision, origin) = (basis.compute.to_string(), basis.precision.name(), name(*origin));
    match finding {
        Finding::Speed(subject, speed) => connection
            .prepare_cached(
                "INSERT OR REPLACE INTO speeds (compute, precision, engine, subject, flops, bytes_per_second, origin, found)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![compute, precision, basis.engine, subject.to_string(), speed.flops, speed.bytes_per_second, origin, found.0]),
        Finding::Step(Sample { walk, seconds, beyond }) => {
            let beyond = beyond.map(|bytes| whole(bytes.get()));
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO steps (compute, precision, engine, weights, flops, seconds, origin, found, beyond)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![compute, precision, basis.engine, whole(walk.weights), walk.flops, seconds, origin, found.0, beyond])
        }
    }
}

/// SQLite's integers have a sign.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

const fn name(origin: Origin) -> &'static str {
    match origin {
        Origin::Run => "run",
        Origin::Calibration => "calibration",
    }
}

/// Returns all that is remembered.
pub(super) fn experience(connection: &Connection) -> Result<Experience, LedgerError> {
    let mut learned = speeds(connection)?;
    learned.extend(steps(connection)?);
    // The order of finding is what tells which basis is the newest.
    learned.sort_by_key(|l| l.found);
    Ok(Experience::of(learned, forecasts(connection)?))
}

fn speeds(connection: &Connection) -> Result<Vec<Learned>, LedgerError> {
    let sql = "SELECT compute, precision, engine, origin, found, subject, flops, bytes_per_second FROM speeds ORDER BY found";
    let row = |row: &Row<'_>| {
        let speed = Speed { flops: row.get(6)?, bytes_per_second: row.get(7)?, measured: true };
        Ok((keys(row)?, origin(row)?, row.get::<_, String>(5)?, speed))
    };
    let learned = |(basis, (origin, found), subject, speed): (Keys, (String, i64), String, Speed)| {
        let finding = Finding::Speed(read("subject", &subject)?, speed);
        Ok(Learned { basis: self::basis(basis)?, finding, found: Timestamp(found), origin: named(&origin)? })
    };
    all(connection, sql, row)?.into_iter().map(learned).collect()
}

fn steps(connection: &Connection) -> Result<Vec<Learned>, LedgerError> {
    let sql = "SELECT compute, precision, engine, origin, found, weights, flops, seconds, beyond FROM steps ORDER BY found";
    let row = |row: &Row<'_>| {
        let walk = Walk { weights: row.get::<_, i64>(5)?.unsigned_abs(), flops: row.get(6)? };
        let beyond = row.get::<_, Option<i64>>(8)?.map(|bytes| Bytes(bytes.unsigned_abs()));
        Ok((keys(row)?, origin(row)?, Sample { walk, seconds: row.get(7)?, beyond }))
    };
    let learned = |(basis, (origin, found), sample): (Keys, (String, i64), Sample)| {
        Ok(Learned { basis: self::basis(basis)?, finding: Finding::Step(sample), found: Timestamp(found), origin: named(&origin)? })
    };
    all(connection, sql, row)?.into_iter().map(learned).collect()
}

fn forecasts(connection: &Connection) -> Result<Vec<Forecast>, LedgerError> {
    let sql = "SELECT compute, precision, engine, model, weights, flops, predicted_s, measured_s, calibrated FROM forecasts ORDER BY id";
    let row = |row: &Row<'_>| {
        let walk = row.get::<_, Option<i64>>(4)?.zip(row.get::<_, Option<f64>>(5)?);
        let walk = walk.map(|(weights, flops)| Walk { weights: weights.unsigned_abs(), flops });
        let (predicted_s, measured_s, calibrated): (f64, f64, bool) = (row.get(6)?, row.get(7)?, row.get(8)?);
        Ok((keys(row)?, row.get::<_, String>(3)?, walk, predicted_s, measured_s, calibrated))
    };
    let rows = all(connection, sql, row)?.into_iter();
    let forecast = |(basis, model, walk, predicted_s, measured_s, calibrated)| {
        Ok(Forecast { basis: self::basis(basis)?, model, walk, predicted_s, measured_s, calibrated })
    };
    rows.map(forecast).collect()
}

fn all<T>(connection: &Connection, sql: &str, row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>, LedgerError> {
    let sqlite = || LedgerError::sqlite("read what was learned");
    let mut statement = connection.prepare(sql).map_err(sqlite())?;
    let rows = statement.query_map([], row).map_err(sqlite())?;
    rows.collect::<Result<_, _>>().map_err(sqlite())
}

/// The first three columns of every table.
type Keys = (String, String, String);

fn keys(row: &Row<'_>) -> rusqlite::Result<Keys> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// How something was found, and when.
fn origin(row: &Row<'_>) -> rusqlite::Result<(String, i64)> {
    Ok((row.get(3)?, row.get(4)?))
}

fn named(text: &str) -> Result<Origin, LedgerError> {
    let known = [Origin::Run, Origin::Calibration].into_iter().find(|origin| name(*origin) == text);
    known.ok_or_else(|| LedgerError::Damaged { what: "origin", problem: format!("`{text}` is no origin of a measurement") })
}

fn basis((compute, precision, engine): Keys) -> Result<Basis, LedgerError> {
    Ok(Basis { compute: read("device", &compute)?, precision: read("precision", &precision)?, engine })
}

fn read<T: FromStr<Err: Display>>(what: &'static str, text: &str) -> Result<T, LedgerError> {
    text.parse().map_err(|e: T::Err| LedgerError::Damaged { what, problem: e.to_string() })
}
