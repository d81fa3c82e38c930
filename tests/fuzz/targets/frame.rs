//! What comes over a socket: a frame is read within its limit, or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perilune::wire::{Hello, Limit, Order, Report, Request, ServerFrame, blocking, frame, hello::HelloFrame};

fuzz_target!(|bytes: &[u8]| {
    let mut from = bytes;
    while let Ok(Some(request)) = blocking::read::<Request>(&mut from, Limit(1 << 20)) {
        let again = frame::encode(&request, Limit::CONTROL).expect("what was read can be written");
        assert_eq!(frame::decode::<Request>(&again[frame::PREFIX..]).expect("and read again"), request);
    }
    drop(frame::decode::<Order>(bytes));
    drop(frame::decode::<Report>(bytes));
    drop(frame::decode::<ServerFrame>(bytes));
    if let Ok(HelloFrame { hello }) = frame::decode(bytes) {
        assert_eq!(hello.check().is_ok(), hello == Hello::ours().hello);
    }
});
