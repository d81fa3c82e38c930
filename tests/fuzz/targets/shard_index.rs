//! An index of shards: every tensor has a shard, and no shard lies elsewhere.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perilune::formats::shard_index;

fuzz_target!(|json: &[u8]| {
    if let Ok(index) = shard_index::parse(json) {
        assert!(index.home.values().all(|shard| *shard < index.files.len()));
        assert!(index.files.iter().all(|file| std::path::Path::new(file).components().count() == 1));
    }
});
