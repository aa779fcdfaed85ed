//! Packs of every shape and in every order, that of git and others.

use std::collections::{BTreeSet, HashMap};

use super::super::complete_thin;
use super::pack::{Builder, Seen, copy, delta, id_of, index, insert, options};
use crate::proto::{ObjectId, ObjectKind};

fn id_of_blob(data: &[u8]) -> ObjectId {
    id_of(ObjectKind::Blob, data)
}

/// Numbers that look random and are the same in each run.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    }
}

#[test]
fn every_object_is_found_whatever_the_order_and_the_shape() {
    for seed in 0..400 {
        let mut random = random(seed);
        // As git makes them, every base before its deltas: those are hashed in pairs, unless collisions are detected.
        let is_usual = random(2) == 0;
        // Objects, each with the one that it is made from.
        let mut objects: Vec<(Vec<u8>, Option<usize>)> = Vec::new();
        for i in 0..1 + random(60) {
            if i == 0 || random(4) == 0 {
                objects.push((format!("whole {i} {}", "y".repeat(random(90))).into_bytes(), None));
            } else {
                let base = if random(2) == 0 { i - 1 } else { random(i) };
                let mut data = objects[base].0.clone();
                // Now and then the same object comes out of two bases, or out of one twice.
                data.extend_from_slice(if random(8) == 0 { "=" } else { ["a", "b", "c"][random(3)] }.as_bytes());
                objects.push((data, Some(base)));
            }
        }
        // Some whole objects are left out: the repository has them.
        let in_repository: Vec<bool> =
            objects.iter().map(|(_, base)| base.is_none() && !is_usual && random(5) == 0).collect();
        let bases: HashMap<_, _> = objects
            .iter()
            .zip(&in_repository)
            .filter(|(_, there)| **there)
            .map(|((data, _), _)| (id_of_blob(data), (ObjectKind::Blob, data.clone())))
            .collect();
        let mut order: Vec<usize> = (0..objects.len()).filter(|&i| !in_repository[i]).collect();
        for i in (1..order.len()).rev().filter(|_| !is_usual) {
            order.swap(i, random(i + 1));
        }
        let mut pack = Builder::new();
        let mut offsets: HashMap<usize, u64> = HashMap::new();
        for i in order {
            let (data, base) = &objects[i];
            let offset = match base {
                None => pack.whole(ObjectKind::Blob, data),
                Some(base) => {
                    let base_data = &objects[*base].0;
                    let (old, new) = (base_data.len() as u64, data.len() as u64);
                    let delta = delta(old, new, &[copy(0, old as u32), insert(&data[old as usize..])].concat());
                    match offsets.get(base) {
                        Some(&offset) if is_usual || random(2) == 0 => pack.ofs_delta(offset, &delta),
                        _ => pack.ref_delta(&id_of_blob(base_data), &delta),
                    }
                }
            };
            offsets.insert(i, offset);
        }
        let mut pack = pack.finish();
        let mut options = options();
        #[cfg(feature = "collision-detection")]
        {
            options.detect_collisions = random(4) == 0;
        }
        if random(4) == 0 {
            options.spool = None;
        }
        let all_in_memory = options.spool.is_none();
        options.limits.waiting = random(200) as u64;
        options.limits.in_memory = random(200) as u64;
        let seen = Seen { max_blob: Some(u64::MAX), ..Seen::default() };
        let (mut index, _) = index(&pack, options, &bases, &seen, 1 + random(3)).unwrap();
        if all_in_memory {
            let mut seen: Vec<_> = seen.objects.into_inner().unwrap().into_iter().map(|(id, ..)| id).collect();
            seen.sort_unstable();
            assert_eq!(seen, index.objects().map(|(id, _)| id).collect::<Vec<_>>(), "seed {seed}");
        }
        complete_thin(&mut index, &mut pack, &bases, || Ok(())).unwrap();
        let found: BTreeSet<_> = index.objects().map(|(id, _)| id).collect();
        let sent = offsets.keys().map(|&i| id_of_blob(&objects[i].0));
        assert!(sent.clone().all(|id| found.contains(&id)), "seed {seed}");
        let expected: BTreeSet<_> = sent.chain(bases.into_keys().filter(|id| found.contains(id))).collect();
        assert_eq!(found, expected, "seed {seed}");
    }
}
