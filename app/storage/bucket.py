"""The bucket that the settings name. Whoever keeps the memory elsewhere need not import this, nor the client of S3."""

from app.core.clock import Clock
from app.core.ids import replica_name
from app.core.settings import Settings
from app.storage.probed import ProbedStore
from app.storage.s3 import S3Options, S3Store
from app.storage.signatures import Signature


def probed_bucket(settings: Settings, clock: Clock) -> ProbedStore:
    """The bucket as the service uses it."""
    return ProbedStore(
        bucket(settings, clock),
        clock,
        replica_name(),
        demand=settings.s3_conditional_writes,
        replicas=settings.replicas,
    )


def bucket(settings: Settings, clock: Clock) -> S3Store:
    """The bucket as it is, not tried yet."""
    secret = settings.s3_secret_access_key
    options = S3Options(
        bucket=settings.s3_bucket_name,
        endpoint_url=settings.s3_endpoint_url,
        region=settings.s3_region_name,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=secret.get_secret_value() if secret else "",
        signature=Signature(settings.s3_signature),
        sse=settings.s3_sse,
        ca_file=settings.s3_ca_file,
    )
    return S3Store(options, clock)
