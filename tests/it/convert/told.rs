//! What `convert` says, in words, in JSON, and by its exit code.

use std::collections::BTreeSet;
use std::fs;

use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::{convert, lines, moon, output, run, stored};
use crate::support::daemon::Home;
use crate::support::weights_file::write;

/// The names that programs read, of every line whatever its status.
const FIELDS: [&str; 11] =
    ["source", "output", "from", "to", "status", "reason", "source_bytes", "output_bytes", "seconds", "tensors", "error"];

#[track_caller]
fn has_fields(line: &Value) {
    let names: BTreeSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(FIELDS), "{line}");
}

#[test]
fn every_item_is_a_line_and_every_line_has_the_same_fields() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let first = convert(&home, &source, &["--to", "bf16,fp8"]);
    let [bf16, fp8] = first.as_slice() else { panic!("{first:?}") };
    first.iter().for_each(has_fields);
    assert_eq!(bf16["source"], json!(source));
    assert_eq!(bf16["output"], json!(home.path().join("models/diffusion_models/converted/moon_bf16.safetensors")));
    assert_eq!(
        (&bf16["from"], &bf16["to"], &bf16["status"], &bf16["reason"]),
        (&json!("fp16"), &json!("bf16"), &json!("converted"), &Value::Null)
    );
    assert_eq!((&bf16["source_bytes"], &bf16["tensors"]), (&json!(4_834_312), &json!(400)));
    assert_eq!(bf16["output_bytes"], json!(std::fs::metadata(output(bf16)).unwrap().len()));
    assert!(bf16["seconds"].as_f64().unwrap() > 0.0);
    let error = &fp8["error"];
    assert_eq!((&fp8["to"], &error["clipped"], error["worst"].as_array().unwrap().len()), (&json!("fp8_e4m3fn"), &json!(0), 10));
    // Three bits behind the point: half of the last one is 1/16 at worst.
    let (mean, max) = (error["rel_l2_mean"].as_f64().unwrap(), error["rel_l2_max"].as_f64().unwrap());
    assert!(0.0 < mean && mean < max && max < 1.0 / 16.0, "{mean} {max}");
    assert_eq!(error["worst"][0]["rel_l2"], error["rel_l2_max"]);

    let again = convert(&home, &source, &["--to", "bf16,fp16"]);
    let [cached, extracted] = again.as_slice() else { panic!("{again:?}") };
    assert_eq!((&cached["status"], &cached["output"], &cached["error"]), (&json!("cached"), &bf16["output"], &bf16["error"]));
    assert_eq!(extracted["status"], "converted", "the network alone is another file than the whole checkpoint");
    let skipped = &convert(&home, &output(extracted), &["--to", "fp16"])[0];
    assert_eq!(
        (&skipped["status"], &skipped["output"], &skipped["reason"]),
        (&json!("skipped"), &extracted["output"], &json!("it is fp16 already"))
    );
    again.iter().chain([skipped]).for_each(has_fields);
}

#[test]
fn one_that_fails_does_not_keep_the_others_and_gives_the_exit_code() {
    let home = Home::empty();
    let good = moon(&home, "moon");
    let cut = write(home.path(), "models/checkpoints/cut.safetensors", b"\x10\0\0");
    let words: Vec<String> = [&cut, &good].map(|p| p.display().to_string()).into();
    let done = home.run(&["convert", &words[0], "nobody", &words[1], "--to", "bf16", "--json"]);
    let told = lines(&done.stdout);
    told.iter().for_each(has_fields);
    let of = |key: &str| told.iter().map(|l| l[key].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>();
    assert_eq!(of("status"), ["failed", "failed", "converted"]);
    assert_eq!(done.code, 6, "the first that failed: {done:?}");
    assert!(of("reason")[0].contains("the file ends after 3 bytes") && of("reason")[1].contains("nobody"), "{told:?}");
    assert_eq!(done.stderr.matches("error: ").count(), 2);
}

#[test]
fn people_read_sizes_speed_and_what_was_lost() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let done = home.run(&["convert", "moon", "--to", "nf4"]);
    let text = done.ok();
    let path = home.path().join("models/diffusion_models/converted/moon_nf4.safetensors");
    assert!(text.starts_with(&format!("{}\n  converted: fp16 4.6 MiB to nf4 3.2 MiB, ", path.display())), "{text}");
    assert!(text.contains("  relative error 0.0925 over all; the tensors that lost most:\n    tensor"), "{text}");
    let text = home.run(&["convert", &source.display().to_string(), "--to", "nf4"]).ok();
    assert!(text.contains("  cached: fp16 4.6 MiB to nf4 3.2 MiB\n"), "{text}");
    let done = home.run(&["convert", &path.display().to_string(), "--to", "nf4"]);
    assert_eq!(done.ok(), format!("{}: it is nf4 already\n", path.display()));
}

#[test]
fn values_beyond_a_type_are_counted_and_said() {
    let home = Home::empty();
    let mut values = vec![0.25_f32; 64 * 64];
    values[7] = 1e6;
    values[8] = -7e7;
    values[9] = f32::NAN;
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let file = stored(&[("lin.weight".to_owned(), "F32", vec![64, 64], bytes)], "");
    let source = write(home.path(), "models/diffusion_models/wide.safetensors", &file);
    let done = home.run(&["convert", &source.display().to_string(), "--to", "fp16"]);
    assert_eq!(done.code, 0);
    assert!(done.stderr.contains("warning: 2 values were beyond the range of fp16"), "{done:?}");
    assert!(done.stderr.contains("warning: 1 value was no numbers (NaN) in the source"), "{done:?}");
    let line = convert(&home, &source, &["--to", "fp16"]).remove(0);
    assert_eq!((&line["error"]["clipped"], &line["error"]["not_a_number"]), (&json!(2), &json!(1)));
}

/// Of blocks, too, a value that none can hold is told of, and the file holds none that is no number.
#[test]
fn values_that_no_block_holds_are_counted_and_said() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let mut bytes = fs::read(&source).unwrap();
    // Halves: one infinite, and one no number.
    let network = SafeTensors::deserialize(&bytes).unwrap();
    let weight = network.tensor("model.diffusion_model.middle_block.0.in_layers.2.weight").unwrap().data();
    let at = weight.as_ptr().addr() - bytes.as_ptr().addr();
    bytes[at..at + 4].copy_from_slice(&[0x00, 0x7c, 0x01, 0x7e]);
    fs::write(&source, bytes).unwrap();
    for to in ["Q8_0", "Q4_0", "Q4_K"] {
        let line = convert(&home, &source, &["--to", to]).remove(0);
        assert_eq!((&line["error"]["clipped"], &line["error"]["not_a_number"]), (&json!(1), &json!(1)), "{to}");
        let made = line["output"].as_str().unwrap();
        home.run(&["cache", "verify", "--full", made]).ok();
    }
}

#[test]
fn what_cannot_be_meant_or_made_is_refused() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let before = home.tree();
    let check = |words: &[&str], code: i32, message: &str| home.run(&[&["convert"], words].concat()).refused(code, message);
    check(
        &["moon", "--to", "Q4"],
        2,
        "invalid value 'Q4' for '--to <PRECISION>': `Q4` may be any of Q4_0, Q4_1, Q4_K_S, Q4_K_M; say which",
    );
    check(&["moon", "--to", "q9"], 2, "invalid value 'q9' for '--to <PRECISION>': ");
    check(&["moon"], 2, "the following required arguments were not provided: --to <PRECISION>");
    check(&["--to", "bf16"], 2, "the following required arguments were not provided: ");
    check(
        &["moon", "--to", "bf16", "--part", "heart"],
        2,
        "invalid value 'heart' for '--part <PART>': `heart` is no part of a model; parts are ",
    );
    check(&["moon", "--to", "bf16", "--threads", "0"], 2, "invalid value '0' for '--threads <N>': ");
    check(&["nobody", "--to", "bf16"], 4, "there is no model `nobody` in ");
    check(&["--all", "vae", "--to", "bf16"], 4, "there is nothing to convert among vae");
    check(&["moon", "--to", "bf16", "--part", "t5"], 4, &format!("{}: it holds no t5", source.display()));
    check(
        &["moon", "--to", "Q8_0", "--part", "vae"],
        5,
        &format!("{}: an autoencoder has nothing that Q8_0 is for: its convolutions stay in 16 bits", source.display()),
    );
    assert_eq!(home.tree(), before, "nothing is left behind");
}

/// Codes with tables beside them are not numbers: a file that says fp16 and holds them would be worse than none.
#[test]
fn what_is_stored_in_codes_is_not_taken_for_numbers() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    for to in ["nf4", "int8", "sdnq_uint4"] {
        let coded = output(&super::one(&home, &source, to));
        let done = run(&home, &coded, &["--to", "fp16"]);
        assert_eq!((done.code, lines(&done.stdout)[0]["status"].clone()), (5, json!("failed")), "{to}: {done:?}");
        assert!(done.stderr.contains(&format!("it is stored as {to}, which is not taken apart again")), "{done:?}");
    }
}
