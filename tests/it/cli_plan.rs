//! `perilune plan`: the original's placements, as people and scripts see them.

use serde_json::{Value, json};

use crate::support::daemon::{Done, Home};
use crate::support::weights_file::write;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/distorch_examples.json");

fn plan(home: &Home, file: &str, more: &[&str]) -> Done {
    home.run(&[&["plan", "--blocks", file, "--compat", "distorch2"], more].concat())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn a_case(allocation: &str) -> Value {
    json!({
        "models": {"A": [{"name": "b0", "bytes": 10, "has_bias_attr": true}]},
        "examples": [{"id": "1", "model": "A", "devices_total_bytes": {"cpu": 64, "cuda:0": 8}, "allocation": allocation}],
    })
}

#[test]
fn all_cases_of_the_original_come_out_as_they_did_there() {
    let home = Home::empty();
    let cases = lines(&plan(&home, EXAMPLES, &["--json"]).ok());
    assert_eq!(cases.len(), 48);
    let file: Value = serde_json::from_slice(&std::fs::read(EXAMPLES).unwrap()).unwrap();
    for (told, case) in cases.iter().zip(file["examples"].as_array().unwrap()) {
        assert_eq!(
            (&told["id"], &told["devices"], &told["error"], &told["matches"]),
            (&case["id"], &case["expected"], &case["error"], &json!(true))
        );
    }
    let of = |id: &str| cases.iter().find(|c| c["id"] == id).unwrap();
    assert_eq!(
        *of("A11"),
        json!({
            "id": "A11", "model": "A", "allocation": "#cuda:0;2.3;cpu", "matches": true,
            "devices": {
                "cpu": {"bytes": 2_147_483_648u64, "blocks": ["b1", "b2"]},
                "cuda:0": {"bytes": 6_442_450_944u64, "blocks": ["b0", "b3", "b4", "b5", "b6", "b7"]},
            },
        })
    );
    assert_eq!((&of("A30")["error"], &of("A30")["devices"]), (&json!("RuntimeError"), &Value::Null));
    let table = plan(&home, EXAMPLES, &[]).ok();
    let row = table.lines().find(|l| l.starts_with("A20")).unwrap();
    assert!(row.contains("ValueError: `.5gb` is no number") && row.ends_with("yes"), "{row}");
    assert_eq!(table.lines().count(), 49);
    assert!(!home.path().join("state").exists(), "nothing is left behind");
}

#[test]
fn a_case_that_differs_is_told_and_is_a_failure() {
    let home = Home::empty();
    let mut file = a_case("#cuda:0;1;cpu");
    file["examples"][0]["expected"] = json!({"cuda:0": {"bytes": 10, "blocks": ["b0"]}});
    let path = write(home.path(), "differs.json", file.to_string().as_bytes()).display().to_string();
    let done = plan(&home, &path, &["--json"]);
    assert_eq!((done.code, done.stderr.as_str()), (1, ""));
    assert_eq!(lines(&done.stdout)[0]["matches"], json!(false));
    let mut second = file["examples"][0].clone();
    second["expected"] = json!({"cpu": {"bytes": 10, "blocks": ["b0"]}});
    file["examples"].as_array_mut().unwrap().push(second);
    write(home.path(), "differs.json", file.to_string().as_bytes());
    let done = plan(&home, &path, &[]);
    let ends: Vec<&str> = done.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!((done.code, ends), (1, vec!["no", "yes"]), "one that differs is enough");
    write(home.path(), "open.json", a_case("#cuda:0;1;cpu").to_string().as_bytes());
    let done = plan(&home, "open.json", &["--json"]);
    assert_eq!((done.code, &lines(&done.stdout)[0]["matches"]), (0, &Value::Null), "seen from where the command is");
}

#[test]
fn the_first_distorch_has_its_own_rules_and_the_original_its_tables() {
    let home = Home::empty();
    let path = write(home.path(), "case.json", a_case("cuda:0,0.5;cpu,0.1").to_string().as_bytes()).display().to_string();
    let done = home.run(&["plan", "--blocks", &path, "--compat", "distorch-v1", "--json"]);
    assert_eq!(lines(&done.ok())[0]["devices"], json!({"cpu": {"bytes": 10, "blocks": ["b0"]}}));
    let tables = plan(&home, EXAMPLES, &["--tables"]).ok();
    assert_eq!(tables.matches("[MultiGPU DisTorch V2] Final Allocation String:").count(), 43, "five are errors");
    assert!(
        tables.contains("A1 · A · #cuda:0;4.0;cpu\n=") && tables.contains("\nA30 · A · cuda:7,2gb;cpu,*#cuda:0\nRuntimeError: "),
        "{tables}"
    );
}

#[test]
fn what_cannot_be_planned_is_refused_by_its_kind() {
    let home = Home::empty();
    let place = |name: &str, bytes: &[u8]| write(home.path(), name, bytes).display().to_string();
    let check = |arguments: &[&str], code: i32, message: &str| home.run(arguments).refused(code, message);
    check(&["plan"], 2, "there is nothing to plan: the model is missing");
    check(&["plan", "--blocks", EXAMPLES], 2, "whose rules are meant is missing: --compat");
    check(&["plan", "night", "--blocks", EXAMPLES], 2, "");
    check(&["plan", "--blocks", EXAMPLES, "--compat", "mine"], 2, "invalid value 'mine' for '--compat <RULES>': `mine` names no rules");
    check(&["plan", "--blocks", EXAMPLES, "--compat", "distorch2", "--tables", "--json"], 2, "--tables are text");
    plan(&home, "none.json", &[]).refused(4, &format!("{}/none.json: there is no such file", home.path().display()));
    plan(&home, "/dev/zero", &[]).refused(6, "/dev/zero: this is no regular file");
    let text = place("text.json", b"\xff\xfe");
    plan(&home, &text, &[]).refused(6, &format!("{text}: not a file of placement cases: "));
    let mut file = a_case("");
    file["examples"][0]["model"] = json!("\u{1b}[2J");
    let stranger = place("stranger.json", file.to_string().as_bytes());
    plan(&home, &stranger, &[]).refused(6, &format!("{stranger}: case `1` is about the model ` [2J`"));
    let long = place("long.json", b"");
    std::fs::File::options().write(true).open(&long).unwrap().set_len(1 << 40).unwrap();
    plan(&home, &long, &[]).refused(6, &format!("{long}: the file is longer than "));
}
