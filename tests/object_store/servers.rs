//! What kinds of servers there are, and the examples.

use std::process::Command;

use receive_pack::store::Bucket;

use crate::support::fast_import::Shape;
use crate::support::format::format;
use crate::support::git::{self, Repo, assert_same_repository};
use crate::support::s3::S3;
use crate::support::server::{Server, example};

/// It would answer that a push has landed, and lose it.
#[tokio::test]
async fn a_server_that_ignores_conditions_is_refused() {
    let Some(s3) = S3::rclone() else { return };
    let error = Bucket::open(s3.store()).await.expect_err("it loses updates");
    let said = error.to_string();
    assert!(said.contains("does not keep to If-") && said.contains("one would be lost"), "{said}");
}

/// The examples, on a history of some megabytes: in, and out again.
#[test]
fn a_history_goes_through_a_daemon_into_s3_and_out_again() {
    let Some(s3) = S3::seaweedfs() else { return };
    let source = Shape::SMALL.repository().borrow();
    let bucket = format!("{}all", s3.url());
    let server = Server::start_in("bucket_daemon", ["--bucket", &bucket], s3.environment());
    let url = server.url().replace("demo.git", "team/demo.git");
    source.push(&url, &["-q", "--mirror"]);
    let target = tempfile::tempdir().expect("a temporary directory");
    let target = target.path().join("demo.git");
    let export = || {
        let mut export = Command::new(example("bucket_export"));
        export.envs(s3.environment()).args(["--bucket", &bucket, "--path", "team/demo.git", "--into"]).arg(&target);
        git::run(export, b"").expect_success("bucket_export");
        assert_same_repository(&source, &Repo::at(&target));
    };
    export();
    source.git(["branch", "more", "main~3"]);
    source.git(["update-ref", "-d", "refs/tags/v1"]);
    source.push(&url, &["-q", "--mirror"]);
    export();
    assert_eq!(server.log(), "");
    assert_eq!(Repo::at(&target).git(["rev-parse", "--show-object-format"]).text().trim(), format().name());
}
