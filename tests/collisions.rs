//! Two messages with one SHA-1: the chosen-prefix collision of Leurent and Peyrin ("SHA-1 is a Shambles", 2020).
//!
//! Nobody has made a collision of objects of Git, whose header stands before what is hashed, so this shows the hasher,
//! and that it is what names objects; not a push.

#![cfg(feature = "collision-detection")]

use receive_pack::checksum::Hasher;
use receive_pack::proto::ObjectFormat;

const MESSAGES: [&[u8]; 2] =
    [include_bytes!("collisions/sha-mbles-1.bin"), include_bytes!("collisions/sha-mbles-2.bin")];

#[test]
fn a_known_attack_is_seen_however_it_is_cut() {
    assert_ne!(MESSAGES[0], MESSAGES[1]);
    let plain = MESSAGES.map(|message| {
        let mut hasher = Hasher::new(ObjectFormat::Sha1);
        hasher.update(message);
        hasher.finish().expect("a plain hasher sees nothing").to_string()
    });
    assert_eq!(plain, ["8ac60ba76f1999a1ab70223f225aefdc78d4ddc0"; 2]);
    for piece in [1, 63, 64, 65, 640] {
        for message in MESSAGES {
            let mut hasher = Hasher::detecting(ObjectFormat::Sha1);
            message.chunks(piece).for_each(|piece| hasher.update(piece));
            assert!(hasher.finish().is_err(), "in pieces of {piece}");
        }
    }
}

#[test]
fn other_bytes_are_no_attack() {
    let mut message = MESSAGES[0].to_vec();
    message[600] ^= 1;
    message.extend_from_slice(&[0; 1000]);
    let id = |mut hasher: Hasher| {
        hasher.update(&message[1..]);
        hasher.finish().expect("no attack")
    };
    assert_eq!(id(Hasher::detecting(ObjectFormat::Sha1)), id(Hasher::new(ObjectFormat::Sha1)));
}
