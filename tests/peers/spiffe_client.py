"""A workload with the `spiffe` package from PyPI. The socket of a Workload API is its first argument.

Prints JSON lines: {"context": ...} for every update of the X.509 stream, {"keys": {TRUST DOMAIN: [KEY ID, ...]}} for every
update of the JWT bundles, and first of all one {"once": ...} with what the calls without stream gave.
"""
import json
import sys
import threading

from spiffe import WorkloadApiClient

lock = threading.Lock()


def say(**what):
    with lock:
        print(json.dumps(what), flush=True)


def known(svid, bundles):
    """Whether a root of the SVID's own trust domain signed its chain, by the signatures alone."""
    *chain, last = svid.cert_chain
    for certificate, signer in zip(chain, svid.cert_chain[1:]):
        certificate.verify_directly_issued_by(signer)
    bundle = bundles.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    for root in bundle.x509_authorities:
        try:
            last.verify_directly_issued_by(root)
            return True
        except Exception:
            continue
    return False


def context(update):
    svids = update.x509_svids
    say(context={
        "svids": [
            {
                "id": str(s.spiffe_id),
                "serial": f"{s.leaf.serial_number:032x}",
                "known": known(s, update.x509_bundle_set),
                "key": s.private_key.public_key() == s.leaf.public_key(),
            }
            for s in svids
        ],
        "roots": {b.trust_domain.name: len(b.x509_authorities) for b in update.x509_bundle_set.bundles},
    })


def keys(bundles):
    say(keys={b.trust_domain.name: sorted(b.jwt_authorities) for b in bundles.bundles})


def refusal(call):
    try:
        call()
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    return None


client = WorkloadApiClient(sys.argv[1], default_timeout=20)
token = client.fetch_jwt_svid(audience={"reports"})
validated = client.validate_jwt_svid(token.token, "reports")
say(once={
    "svid": str(client.fetch_x509_svid().spiffe_id),
    "bundles": sorted(b.trust_domain.name for b in client.fetch_x509_bundles().bundles),
    "token": {"id": str(token.spiffe_id), "audience": sorted(token.audience)},
    "validated": str(validated.spiffe_id),
    "refused": refusal(lambda: client.validate_jwt_svid(token.token, "somebody else")),
})
client.stream_x509_contexts(context, lambda e: say(error=str(e)))
client.stream_jwt_bundles(keys, lambda e: say(error=str(e)))
threading.Event().wait()
