//! Whether an object store keeps to the conditions of a put.

use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, PutResult, UpdateVersion,
};

use crate::store::unique::unique_id;
use crate::{Error, ErrorKind};

/// An object of some bytes is created, created again, updated, and updated on a version that is gone.
pub(super) async fn probe(store: &dyn ObjectStore) -> Result<(), Error> {
    let object = Path::from(format!("receive-pack-probe/{}", unique_id()));
    let found = put_twice(store, &object).await;
    // What stays of it harms nobody.
    let _ = store.delete(&object).await;
    found
}

async fn put_twice(store: &dyn ObjectStore, object: &Path) -> Result<(), Error> {
    let put = async |text: &'static str, mode: PutMode| {
        store.put_opts(object, PutPayload::from_static(text.as_bytes()), mode.into()).await
    };
    put("created", PutMode::Create).await.map_err(unusable)?;
    expect_refused(put("created again", PutMode::Create).await, "If-None-Match")?;
    // As a head is read and moved on; there are proxies that change what names a version.
    let ObjectMeta { e_tag, version, .. } = store.get(object).await.map_err(unusable)?.meta;
    let first = UpdateVersion { e_tag, version };
    let second = put("updated", PutMode::Update(first.clone())).await.map_err(unusable)?;
    expect_refused(put("updated again", PutMode::Update(first)).await, "If-Match")?;
    let read = store.get_range(object, 1..4).await.map_err(unusable)?;
    if read != "pda" {
        return Err(Error::new(ErrorKind::Store, "the object store does not give what is asked for"));
    }
    // A repository that was deleted must not come back.
    store.delete(object).await.map_err(unusable)?;
    match put("updated after its end", PutMode::Update(second.into())).await {
        Err(StoreError::NotFound { .. }) => Ok(()),
        put => expect_refused(put, "If-Match"),
    }
}

fn expect_refused(put: object_store::Result<PutResult>, condition: &str) -> Result<(), Error> {
    match put {
        Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(()),
        Err(error) => Err(unusable(error)),
        Ok(_) => Err(ignored(condition)),
    }
}

fn unusable(error: StoreError) -> Error {
    Error::store("the object store cannot be used", error)
}

fn ignored(what: &str) -> Error {
    let text = format!("the object store does not keep to {what}: of two pushes at the same time one would be lost");
    Error::new(ErrorKind::Store, text)
}
