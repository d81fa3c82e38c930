//! A whole GGUF file: whatever is accepted lies inside it, no two tensors share a byte, and its values can be written again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perilune::formats::gguf;

fuzz_target!(|file: &[u8]| {
    let Ok(header) = gguf::parse(file, file.len() as u64) else { return };
    let mut tensors: Vec<_> = header.catalog.iter().collect();
    tensors.sort_by_key(|t| (t.start, t.end));
    assert!(tensors.windows(2).all(|pair| pair[0].end <= pair[1].start));
    assert!(tensors.iter().all(|t| file.get(t.start as usize..t.end as usize).is_some()));
    let values: Vec<_> = header.values.into_iter().filter(|(key, _)| key != "general.alignment").collect();
    let again = gguf::layout(&values, &[]).expect("what was read can be written");
    let read = gguf::parse(&again.header, again.length).expect("and read again");
    assert_eq!(format!("{:?}", read.values), format!("{values:?}"));
});
