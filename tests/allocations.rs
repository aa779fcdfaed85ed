//! A small object passes through codec and checksum without an allocation of its own.

mod support;

use std::alloc::System;

use futures_util::StreamExt;
use receive_pack::checksum::{Checksummed, Throttle};
use receive_pack::codec::ReceivePackCodec;
use receive_pack::proto::PackFrame;
use receive_pack::push::accept;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::format::{format, made_up};
use support::pack::PackBuilder;
use support::request::Request;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const OBJECTS: u32 = 20_000;

#[tokio::test]
async fn small_objects_are_not_allocated_one_by_one() {
    let mut pack = PackBuilder::default();
    for number in 0..OBJECTS {
        pack.blob(format!("the object with the number {number}\n").as_bytes());
    }
    let bytes = Request::new().create("refs/heads/main", made_up('1')).pack(pack.finish()).bytes();
    let codec = ReceivePackCodec::builder().object_format(format()).build();
    let push = accept(codec.framed_read(&bytes[..])).await.expect("a sound head").expect("not a probe");
    let mut body = Checksummed::new(push.into_parts().2, format(), Throttle::default());

    let region = Region::new(ALLOCATOR);
    let mut objects = 0;
    while let Some(frame) = body.next().await {
        objects += u32::from(matches!(frame.expect("a sound pack"), PackFrame::Object(_)));
    }
    let stats = region.change();
    assert_eq!(objects, OBJECTS);
    let allocations = stats.allocations + stats.reallocations;
    println!("{allocations} allocations for {objects} objects, {} bytes on the wire", bytes.len());
    assert!(allocations < 100, "{allocations} allocations");
}
