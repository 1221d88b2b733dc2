//! `CONNECT` that ends here (`connect_config`): its bytes go to a host of the cluster as they are. HBONE is this over HTTP/2
//! with mutual TLS.

use std::{pin::pin, rc::Rc, time::Instant};

use super::{
    failure::Failed,
    manager::{Reply, Upgrade},
    stream::Stream,
    tunnel::Tunnel,
    watchdog::{Limits, watch},
};
use crate::{balancer::PickContext, cluster::Outcome, dial::OnBehalf, upstream::LocalCluster};

/// Connects to a host of `cluster` and joins the two. A host that cannot be reached is 503, as in Envoy.
pub(super) async fn terminate(
    stream: &mut Stream,
    cluster: Rc<LocalCluster>,
    upgrade: Upgrade,
    limits: &Limits,
    hash: Option<u64>,
) -> Reply {
    stream.info.attempts = 1;
    let picked = cluster.pick(&PickContext {
        hash,
        exclude: &[],
        host_selection_retries: 0,
        attempt: 0,
        original_dst: stream.connection.info.original_destination(),
    });
    let Ok(host) = picked else { return Reply::local(Failed::NoHost.reply(false)) };
    stream.info.upstream_host = Some(host.name.clone());
    stream.info.upstream_metadata = Some(host.metadata.clone());
    let random = stream.chain.worker.random();
    let now = Instant::now();
    let behalf = OnBehalf::of(&stream.connection.info);
    let failed =
        match watch(pin!(cluster.tcp(&host, Some(&behalf))), limits, stream.info.timings.start, now, None).await {
            Ok(Ok((upstream, info))) => {
                cluster.report(&host, Outcome::Connected, random);
                stream.info.upstream_tls = info.tls;
                stream.info.upstream_local = info.local;
                stream.info.details = Some("via_upstream".into());
                return Reply::Connected(Box::default(), Box::new(Tunnel::direct(upgrade, upstream, limits.idle)));
            }
            Ok(Err(e)) => Failed::from(e),
            Err(which) => Failed::Expired(which),
        };
    cluster.report(&host, Outcome::ConnectFailed, random);
    stream.info.upstream_failure = failed.transport_reason();
    Reply::local(failed.reply(false))
}
