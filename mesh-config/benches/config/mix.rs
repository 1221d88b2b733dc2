//! Files of a mesh, in the mix in which such files come.

use std::{fmt::Write as _, fs, io, path::Path};

/// How many applications share a namespace.
const PER_NAMESPACE: usize = 25;

/// Writes a folder with about as many objects, a file for each application; how many objects there are.
pub(crate) fn write(folder: &Path, objects: usize) -> io::Result<usize> {
    let mut count = 0;
    let mut app = 0;
    while count < objects {
        let text = application(app);
        count += text.matches("apiVersion:").count();
        fs::write(folder.join(format!("app-{app:05}.yaml")), text)?;
        app += 1;
    }
    Ok(count)
}

/// The objects of an application: workload, service, routing, and what only some have.
fn application(app: usize) -> String {
    let mut text = String::new();
    if app.is_multiple_of(PER_NAMESPACE) {
        push(&mut text, NAMESPACE, app);
    }
    for part in [DEPLOYMENT, POD_1, POD_2, SERVICE, VIRTUAL_SERVICE, DESTINATION_RULE] {
        push(&mut text, part, app);
    }
    push(&mut text, SOMETIMES[app % SOMETIMES.len()], app);
    text
}

fn push(text: &mut String, template: &str, app: usize) {
    let namespace = format!("ns-{:03}", app / PER_NAMESPACE);
    // Writing to a text cannot fail.
    let _ = writeln!(text, "---\n{}", template.replace("APP", &format!("app-{app:05}")).replace("@NS", &namespace));
}

const NAMESPACE: &str = "apiVersion: v1
kind: Namespace
metadata:
  name: @NS
  labels:
    istio-injection: enabled
";

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: APP
  namespace: @NS
  labels: {app: APP}
spec:
  replicas: 2
  selector:
    matchLabels: {app: APP, version: v1}
  template:
    metadata:
      labels: {app: APP, version: v1}
    spec:
      serviceAccountName: APP
      containers:
      - name: app
        image: registry.example.com/APP:1.4.2
        ports:
        - containerPort: 8080
      - name: istio-proxy
        image: docker.io/istio/proxyv2:1.24.0
";

const POD_1: &str = "apiVersion: v1
kind: Pod
metadata:
  name: APP-v1-7d9c5b7d8-x2x7k
  namespace: @NS
  labels: {app: APP, version: v1}
spec:
  serviceAccountName: APP
  nodeName: node-1
  containers:
  - name: app
    image: registry.example.com/APP:1.4.2
    ports:
    - containerPort: 8080
  - name: istio-proxy
    image: docker.io/istio/proxyv2:1.24.0
";

const POD_2: &str = "apiVersion: v1
kind: Pod
metadata:
  name: APP-v2-6f8d4c6b5-k9q4z
  namespace: @NS
  labels: {app: APP, version: v2}
spec:
  serviceAccountName: APP
  nodeName: node-2
  containers:
  - name: app
    image: registry.example.com/APP:1.5.0
    ports:
    - containerPort: 8080
  - name: istio-proxy
    image: docker.io/istio/proxyv2:1.24.0
";

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata:
  name: APP
  namespace: @NS
  labels: {app: APP}
spec:
  selector: {app: APP}
  ports:
  - name: http
    port: 80
    targetPort: 8080
";

const VIRTUAL_SERVICE: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: APP
  namespace: @NS
spec:
  hosts:
  - APP
  http:
  - name: canary
    match:
    - headers:
        x-canary:
          exact: always
    - uri:
        prefix: /preview
    route:
    - destination:
        host: APP
        subset: v2
  - name: rest
    timeout: 10s
    retries:
      attempts: 3
      perTryTimeout: 2s
      retryOn: 5xx,connect-failure
    route:
    - destination:
        host: APP
        subset: v1
      weight: 90
    - destination:
        host: APP
        subset: v2
      weight: 10
";

const DESTINATION_RULE: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: APP
  namespace: @NS
spec:
  host: APP
  trafficPolicy:
    connectionPool:
      tcp: {maxConnections: 100, connectTimeout: 3s}
      http: {http2MaxRequests: 1000}
    outlierDetection:
      consecutive5xxErrors: 5
      interval: 10s
      baseEjectionTime: 30s
  subsets:
  - name: v1
    labels: {version: v1}
  - name: v2
    labels: {version: v2}
";

/// Of these, each application has one.
const SOMETIMES: [&str; 10] = [
    "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: APP
  namespace: @NS
spec:
  selector:
    matchLabels: {app: APP}
  rules:
  - from:
    - source:
        principals: [cluster.local/ns/@NS/sa/APP]
    to:
    - operation:
        methods: [GET, POST]
        paths: [/api/*]
",
    "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: APP
  namespace: @NS
spec:
  hosts: [APP.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports:
  - {number: 443, name: tls, protocol: TLS}
",
    "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: APP
  namespace: @NS
spec:
  selector:
    matchLabels: {app: APP}
  mtls: {mode: STRICT}
",
    "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: APP
  namespace: @NS
spec:
  workloadSelector:
    labels: {app: APP}
  egress:
  - hosts: [./*, istio-system/*]
",
    "apiVersion: v1
kind: ConfigMap
metadata:
  name: APP
  namespace: @NS
data:
  settings.properties: |
    log.level=info
    pool.size=16
",
    "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: APP
  namespace: @NS
spec:
  parentRefs:
  - name: shared
  hostnames: [APP.example.com]
  rules:
  - matches:
    - path: {type: PathPrefix, value: /}
    backendRefs:
    - {name: APP, port: 80}
",
    "apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata:
  name: APP
  namespace: @NS
spec:
  selector:
    matchLabels: {app: APP}
  tracing:
  - randomSamplingPercentage: 5
",
    "apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata:
  name: APP
  namespace: @NS
spec:
  selector:
    matchLabels: {app: APP}
  jwtRules:
  - issuer: https://issuer.example.com
    jwksUri: https://issuer.example.com/keys
",
    "apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: APP
  namespace: @NS
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [APP.example.org]
",
    "apiVersion: v1
kind: ServiceAccount
metadata:
  name: APP
  namespace: @NS
",
];
