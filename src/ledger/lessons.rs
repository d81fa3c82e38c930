//! What runs have shown of this box: the newest speeds, and the newest forecasts with what came of them.

use std::fmt::Display;
use std::str::FromStr;

use rusqlite::{Connection, Row, params};

use super::{Answer, LedgerError};
use crate::placement::learned::FORECASTS;
use crate::placement::{Basis, Experience, Forecast, Learned, Speed};
use crate::units::Timestamp;

/// Speeds that are kept: those of several libraries and drivers, should somebody go back to one.
const SPEEDS: i64 = 100;

pub(super) fn learn(
    connection: &Connection,
    learned: &[Learned],
    forecast: Option<&Forecast>,
    now: Timestamp,
) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("remember a speed");
    let mut replace = connection
        .prepare_cached(
            "INSERT OR REPLACE INTO speeds (compute, precision, engine, subject, flops, bytes_per_second, found)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .map_err(sqlite())?;
    for Learned { basis, subject, speed } in learned {
        let (compute, precision) = (basis.compute.to_string(), basis.precision.name());
        let values = params![compute, precision, basis.engine, subject.to_string(), speed.flops, speed.bytes_per_second, now.0];
        replace.execute(values).map_err(sqlite())?;
    }
    let forget = "DELETE FROM speeds WHERE found < (SELECT found FROM speeds ORDER BY found DESC LIMIT 1 OFFSET ?1)";
    connection.execute(forget, [SPEEDS]).map_err(sqlite())?;
    if let Some(Forecast { basis, model, predicted_s, measured_s, calibrated }) = forecast {
        let mut insert = connection
            .prepare_cached(
                "INSERT INTO forecasts (compute, precision, engine, model, predicted_s, measured_s, calibrated)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )
            .map_err(sqlite())?;
        let (compute, precision) = (basis.compute.to_string(), basis.precision.name());
        insert.execute(params![compute, precision, basis.engine, model, predicted_s, measured_s, calibrated]).map_err(sqlite())?;
        let forget = "DELETE FROM forecasts WHERE id <= (SELECT max(id) FROM forecasts) - ?1";
        connection.execute(forget, [i64::try_from(FORECASTS).unwrap_or(i64::MAX)]).map_err(sqlite())?;
    }
    Ok(Answer::Done)
}

/// Returns all that is remembered.
pub(super) fn experience(connection: &Connection) -> Result<Experience, LedgerError> {
    let sqlite = || LedgerError::sqlite("read what was learned");
    let sql = "SELECT compute, precision, engine, subject, flops, bytes_per_second FROM speeds ORDER BY found";
    let mut statement = connection.prepare(sql).map_err(sqlite())?;
    let rows = statement.query_map([], |row| {
        let speed = Speed { flops: row.get(4)?, bytes_per_second: row.get(5)?, measured: true };
        Ok((keys(row)?, row.get::<_, String>(3)?, speed))
    });
    let mut learned = Vec::new();
    for row in rows.map_err(sqlite())? {
        let (basis, subject, speed) = row.map_err(sqlite())?;
        learned.push(Learned { basis: self::basis(basis)?, subject: read("device", &subject)?, speed });
    }
    let sql = "SELECT compute, precision, engine, model, predicted_s, measured_s, calibrated FROM forecasts ORDER BY id";
    let mut statement = connection.prepare(sql).map_err(sqlite())?;
    let rows = statement.query_map([], |row| {
        Ok((keys(row)?, row.get::<_, String>(3)?, row.get::<_, f64>(4)?, row.get::<_, f64>(5)?, row.get::<_, bool>(6)?))
    });
    let mut forecasts = Vec::new();
    for row in rows.map_err(sqlite())? {
        let (basis, model, predicted_s, measured_s, calibrated) = row.map_err(sqlite())?;
        forecasts.push(Forecast { basis: self::basis(basis)?, model, predicted_s, measured_s, calibrated });
    }
    Ok(Experience::of(learned, forecasts))
}

/// The first three columns of both tables.
type Keys = (String, String, String);

fn keys(row: &Row<'_>) -> rusqlite::Result<Keys> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn basis((compute, precision, engine): Keys) -> Result<Basis, LedgerError> {
    Ok(Basis { compute: read("device", &compute)?, precision: read("precision", &precision)?, engine })
}

fn read<T: FromStr<Err: Display>>(what: &'static str, text: &str) -> Result<T, LedgerError> {
    text.parse().map_err(|e: T::Err| LedgerError::Damaged { what, problem: e.to_string() })
}
