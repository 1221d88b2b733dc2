use std::{panic::resume_unwind, sync::OnceLock, thread};

use bytes::Bytes;
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;

/// The encoded `FileDescriptorSet` behind every type of this crate, extension options included.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!("../descriptors.bin");

static POOL: OnceLock<DescriptorPool> = OnceLock::new();

/// The descriptors of every message of this crate, decoded once, on first use, and kept: some 10 MB.
#[must_use]
pub fn descriptor_pool() -> &'static DescriptorPool {
    POOL.get_or_init(decode)
}

fn decode() -> DescriptorPool {
    // Invariant: the same bytes were read by build.rs; a set that does not decode fails the build, not the program.
    DescriptorPool::decode(DESCRIPTOR_SET).expect("descriptors.bin was checked at build time")
}

/// Does something with the descriptors without keeping them, unless they are kept anyway.
///
/// They are decoded and dropped by a thread of their own. It has its own part of the heap, where nothing is left when it
/// ends, so that the memory goes back to the system; among what others have allocated meanwhile it would stay. What `work`
/// makes for the caller should grow from something the caller has allocated.
pub(crate) fn with_pool_for_once<R: Send>(work: impl FnOnce(&DescriptorPool) -> R + Send) -> R {
    if let Some(pool) = POOL.get() {
        return work(pool);
    }
    let mut work = Some(work);
    let done = thread::scope(|scope| {
        let work = &mut work;
        let run = move || work.take().map(|work| work(&decode()));
        let running = thread::Builder::new().name("descriptors".into()).spawn_scoped(scope, run).ok()?;
        running.join().unwrap_or_else(|panic| resume_unwind(panic))
    });
    match (done, work) {
        (Some(done), _) => done,
        (None, Some(work)) => work(descriptor_pool()),
        // Invariant: the thread leaves either its result or the work.
        (None, None) => unreachable!("the work was done without a result"),
    }
}

/// The descriptors of the files whose package is `wanted`, each decoded when it is its turn: for a look at a few messages
/// that does not need the whole pool.
pub fn file_descriptors(wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = FileDescriptorProto> {
    let files = Files::decode(Bytes::from_static(DESCRIPTOR_SET)).unwrap_or_default().file;
    let files =
        files.into_iter().filter(move |file| Head::decode(file.clone()).is_ok_and(|head| wanted(&head.package)));
    files.filter_map(|file| FileDescriptorProto::decode(file).ok())
}

/// A `FileDescriptorSet` whose files are left encoded.
#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

/// As much of a `FileDescriptorProto` as tells whether it is wanted.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(string, tag = "2")]
    package: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_those_of_the_pool() {
        let mut files: Vec<_> = file_descriptors(|package| package.starts_with("envoy.")).collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut known: Vec<_> = descriptor_pool().files().filter(|f| f.package_name().starts_with("envoy.")).collect();
        known.sort_by_key(|file| file.name().to_owned());
        assert!(files.len() > 200);
        assert!(files.iter().map(|f| f.name()).eq(known.iter().map(|f| f.name())));
        assert!(files.iter().zip(&known).all(|(file, known)| file.message_type.len() == known.messages().len()));
    }

    #[test]
    fn keeps_validation_rules() {
        let pool = descriptor_pool();
        let rules = pool.get_extension_by_name("validate.rules").expect("validate.rules is in the set");
        let cluster = pool.get_message_by_name("envoy.config.cluster.v3.Cluster").unwrap();
        let timeout = cluster.get_field_by_name("connect_timeout").unwrap();
        assert!(timeout.options().has_extension(&rules));
    }
}
