//! A whole file: whatever is accepted lies inside it, and every byte of its data belongs to one tensor.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perilune::formats::{safetensors, sniff};

fuzz_target!(|file: &[u8]| {
    let length = file.len() as u64;
    drop(sniff(file, length));
    let Ok(header) = safetensors::header_length(file, length) else { return };
    let end = safetensors::PREFIX + header;
    if let Ok(catalog) = safetensors::parse(&file[safetensors::PREFIX..end], length) {
        let held: u64 = catalog.iter().map(|t| t.bytes().get()).sum();
        assert_eq!(held, length - end as u64);
        assert!(catalog.iter().all(|t| file.get(t.start as usize..t.end as usize).is_some()));
    }
});
