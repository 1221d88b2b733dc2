use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// The encoded `FileDescriptorSet` behind every type of this crate, extension options included.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!("../descriptors.bin");

/// The descriptors of every message of this crate, decoded once, on first use.
#[must_use]
pub fn descriptor_pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        // Invariant: the same bytes were read by build.rs; a set that does not decode fails the build, not the program.
        DescriptorPool::decode(DESCRIPTOR_SET).expect("descriptors.bin was checked at build time")
    });
    &POOL
}

#[cfg(test)]
mod tests {
    use super::descriptor_pool;

    #[test]
    fn keeps_validation_rules() {
        let pool = descriptor_pool();
        let rules = pool.get_extension_by_name("validate.rules").expect("validate.rules is in the set");
        let cluster = pool.get_message_by_name("envoy.config.cluster.v3.Cluster").unwrap();
        let timeout = cluster.get_field_by_name("connect_timeout").unwrap();
        assert!(timeout.options().has_extension(&rules));
    }
}
