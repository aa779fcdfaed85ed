//! Pushes of chance.

use super::*;

/// Random histories, a random part of them pushed, a random part of the rest brought or lying about: git and we agree
/// about every commit.
#[test]
fn random_pushes_are_judged_as_git_judges_them() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % bound as u64).unwrap()
    };
    let mut verdicts = [0, 0];
    // One object in so many does not come with the push: in each round the same, so that both verdicts come up.
    for one_in in [4, 10, 30, 4, 10, 30] {
        let world = World::new(format());
        let work = world.sandbox.work();
        let mut commits: Vec<ObjectId> = Vec::new();
        for number in 0..10 {
            if let Some(from) = commits.get(next(commits.len().max(1))) {
                git(&work, &["checkout", "-q", "--detach", &from.to_string()]);
            }
            let path = format!("d{}/e{}/f{}", next(3), next(2), next(2));
            commits.push(world.sandbox.commit(&path, &format!("{} {number}", next(3))));
            git(&work, &["update-ref", &format!("refs/heads/c{number}"), &commits[number].to_string()]);
        }
        for _ in 0..next(4) {
            world.push(&format!("{}:refs/heads/p{}", commits[next(10)], next(100)));
        }
        let all = world.needed(&["--all"]);
        for id in &all {
            if next(4) == 0 {
                world.drop_into_bare(id);
            }
        }
        let brought: Vec<_> = all.into_iter().filter(|_| next(one_in) != 0).collect();
        let joint = world.run(&brought, &commits);
        for (commit, joint) in commits.iter().zip(joint) {
            let single = world.complete(&brought, commit);
            assert_eq!(joint.is_ok(), single);
            verdicts[usize::from(single)] += 1;
        }
    }
    assert!(verdicts[0] >= 10 && verdicts[1] >= 10, "{verdicts:?}");
}
