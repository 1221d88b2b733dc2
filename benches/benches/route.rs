//! Finding the route of a request: does it take longer when there are more of them?
//!
//! `cargo bench -p mesh-benches --bench route`. One case for each shape of table: one virtual host with many routes, and many
//! virtual hosts with ten routes each; the route that is looked for is the last one.

// Criterion's macros make public functions without a page.
#![allow(missing_docs)]

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use mesh_proxy::{
    model::{PathMatch, Route, RouteMatch, RouteTable, VirtualHost},
    route::{RouteInput, Routes},
};

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];

fn route(path: PathMatch) -> Arc<Route> {
    Arc::new(Route { matches: RouteMatch { path, ..RouteMatch::default() }, ..Route::default() })
}

fn host(name: &str, routes: Vec<Arc<Route>>) -> Arc<VirtualHost> {
    Arc::new(VirtualHost { name: name.into(), domains: vec![name.into()], routes, ..VirtualHost::default() })
}

fn compile(virtual_hosts: Vec<Arc<VirtualHost>>) -> Routes {
    Routes::compile(Arc::new(RouteTable { virtual_hosts, ..RouteTable::default() }))
}

fn find(routes: &Routes, authority: &str, path: &str) -> bool {
    let headers = HeaderMap::new();
    let request = RouteInput {
        authority,
        path,
        method: "GET",
        headers: &headers,
        scheme: "http",
        secure: false,
        random: 0,
        tls: None,
        internal: false,
    };
    routes.find(black_box(&request)).is_some()
}

fn one_host(c: &mut Criterion) {
    let mut group = c.benchmark_group("routes of one virtual host");
    for size in SIZES {
        let routes = |path: fn(String) -> PathMatch| {
            compile(vec![host("a", (0..size).map(|i| route(path(format!("/service/{i}/method")))).collect())])
        };
        let last = format!("/service/{}/method", size - 1);
        for (kind, routes) in [("prefix", routes(PathMatch::Prefix)), ("exact", routes(PathMatch::Exact))] {
            assert!(find(&routes, "a", &last));
            group.bench_function(BenchmarkId::new(kind, size), |b| b.iter(|| find(&routes, "a", &last)));
        }
    }
    group.finish();
}

fn many_hosts(c: &mut Criterion) {
    let mut group = c.benchmark_group("virtual hosts with ten routes each");
    for size in SIZES {
        let ten = || (0..10).map(|i| route(PathMatch::Prefix(format!("/r{i}")))).collect();
        let routes = compile((0..size).map(|i| host(&format!("host{i}.example"), ten())).collect());
        let last = format!("host{}.example", size - 1);
        assert!(find(&routes, &last, "/r9"));
        group.bench_function(BenchmarkId::from_parameter(size), |b| b.iter(|| find(&routes, &last, "/r9")));
    }
    group.finish();
}

criterion_group!(benches, one_host, many_hosts);
criterion_main!(benches);
