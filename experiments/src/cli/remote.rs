//! Results in an object store: s3://, gs:// and file:// URLs.

#[cfg(not(feature = "object-store"))]
pub(super) use without::{Remote, download};

#[cfg(feature = "object-store")]
pub(super) use with::{Remote, download};

#[cfg(not(feature = "object-store"))]
mod without {
    use std::path::Path;

    use anyhow::{Result, bail};

    /// Nothing: this build knows no object store.
    pub(in crate::cli) enum Remote {}

    impl Remote {
        pub(in crate::cli) fn open(url: &str) -> Result<Remote> {
            bail!("{url}: found a build without object stores, expected one made with --features object-store")
        }

        pub(in crate::cli) fn fetch(&self, _file: &str, _root: &Path) -> Result<()> {
            match *self {}
        }

        pub(in crate::cli) fn upload(&self, _root: &Path, _file: &str) -> Result<()> {
            match *self {}
        }
    }

    pub(in crate::cli) fn download(url: &str, _folder: &Path) -> Result<()> {
        Remote::open(url).map(|_| ())
    }
}

#[cfg(feature = "object-store")]
mod with {
    use std::path::Path;

    use anyhow::{Context as _, Result};
    use kisim::report::write_atomically;
    use object_store::path::Path as Key;
    use object_store::{Error, ObjectStore, ObjectStoreExt as _};
    use tokio::runtime::{Builder, Runtime};

    /// A folder in an object store. Credentials, region and endpoint are those of the environment (`AWS_…`, `GOOGLE_…`).
    pub(in crate::cli) struct Remote {
        url: String,
        store: Box<dyn ObjectStore>,
        prefix: Key,
        runtime: Runtime,
    }

    impl Remote {
        pub(in crate::cli) fn open(url: &str) -> Result<Remote> {
            let parsed = url::Url::parse(url).with_context(|| format!("{url}: no URL"))?;
            // Names of its settings in lower case, and whatever it does not know is left out.
            let settings = std::env::vars().map(|(name, value)| (name.to_lowercase(), value));
            let (store, prefix) =
                object_store::parse_url_opts(&parsed, settings).with_context(|| format!("{url}: no object store"))?;
            let runtime = Builder::new_current_thread().enable_all().build()?;
            Ok(Remote { url: url.to_owned(), store, prefix, runtime })
        }

        fn key(&self, file: &str) -> Key {
            file.split('/').fold(self.prefix.clone(), |key, part| key.join(part))
        }

        /// Gets a file, if it is there.
        pub(in crate::cli) fn fetch(&self, file: &str, root: &Path) -> Result<()> {
            let get = async { self.store.get(&self.key(file)).await?.bytes().await };
            match self.runtime.block_on(get) {
                Ok(bytes) => Ok(write_atomically(&root.join(file), |out| out.write_all(&bytes))?),
                Err(Error::NotFound { .. }) => Ok(()),
                Err(e) => Err(e).with_context(|| format!("cannot read {}/{file}", self.url)),
            }
        }

        /// Puts a file. An object is there whole or not at all.
        pub(in crate::cli) fn upload(&self, root: &Path, file: &str) -> Result<()> {
            let path = root.join(file);
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let key = self.key(file);
            let put = self.store.put(&key, bytes.into());
            self.runtime.block_on(put).with_context(|| format!("cannot write {}/{file}", self.url))?;
            Ok(())
        }
    }

    /// Gets all files of a folder.
    pub(in crate::cli) fn download(url: &str, folder: &Path) -> Result<()> {
        use futures::TryStreamExt as _;
        let remote = Remote::open(url)?;
        let list = remote.store.list(Some(&remote.prefix)).try_collect::<Vec<_>>();
        let objects = remote.runtime.block_on(list).with_context(|| format!("cannot list {url}"))?;
        for object in objects {
            let Some(parts) = object.location.prefix_match(&remote.prefix) else { continue };
            let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            remote.fetch(&parts.join("/"), folder)?;
        }
        Ok(())
    }
}
