#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    receive_pack::fuzzing::entry(bytes);
});
