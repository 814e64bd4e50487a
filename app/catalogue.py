"""Everything the service can do, in the order in which every face lists it."""

from typing import Final

from app.backups.operations import operations as backups
from app.bank.operations import operations as bank
from app.core.routing import Operations
from app.gc.operations import operations as gc
from app.jobs.operations import operations as jobs
from app.notes.operations import operations as notes
from app.overview.operations import operations as overview
from app.spaces.operations import operations as spaces
from app.system.operations import operations as system
from app.tokens.operations import operations as tokens

CATALOGUE: Final[tuple[Operations, ...]] = (system, spaces, overview, notes, bank, jobs, backups, tokens, gc)
