"""The sites, assets and pauses behind the simulator: a small model of Axle, without HTTP and without a clock.

Here lives what Axle would remember and what it would refuse; the shapes of requests are in `axle_forms.py`, status
codes and routes in `axle_operations.py`. The idea: every answer is a function of the seed and of what was asked
before, so that two runs of the same test see the same ids and the same pauses.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import islice
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from processor.demo.axle_forms import AssetForm, Block, SiteForm, UpsertForm, utc_text

LIMITED_PAUSE = "limited_pause"
SCHEDULE_MIN = timedelta(minutes=90)
"""A schedule with less charging than this in all comes back as it was sent."""
PAUSE_LEAD = timedelta(minutes=2)
"""A pause begins at least this long after the block it lies in."""
PAUSE_STEP = timedelta(minutes=5)
"""Pauses begin on whole multiples of this, where one fits."""
PENCE_PER_PAUSE = 5
WITHDRAWAL_THRESHOLD_PENCE = 500
WITHDRAWAL_WAIT_DAYS = 30
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HASH_RANGE = 2**64
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


class RefusedError(Exception):
    """Axle's answer to a well-formed request that it will not carry out: an HTTP status and one sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(slots=True)
class Asset:
    """A charger, or another device, at a site."""

    id: str
    external_id: str
    type: str
    site_id: str
    properties: dict[str, float]

    def body(self) -> dict[str, Any]:
        """The asset as Axle's document answers it."""
        body: dict[str, Any] = {
            "id": self.id,
            "external_id": self.external_id,
            "type": self.type,
            "site_id": self.site_id,
        }
        return body | {"properties": dict(self.properties)} if self.properties else body


@dataclass(slots=True)
class Site:
    """A home. `withdrew` tells that it was unenrolled; `last_asset` is what an offboarding names as its asset."""

    id: str
    mpan: str
    postcode: str
    street_address: str | None
    email: str | None
    consent_at: datetime
    dispatch_methods: set[str]
    last_asset: Asset | None = None
    asset_ids: list[str] = field(default_factory=list)
    withdrew: bool = False
    pauses: int = 0

    def body(self) -> dict[str, Any]:
        """The site as Axle's document answers it."""
        return {
            "id": self.id,
            "mpan": self.mpan,
            "postcode": self.postcode,
            "address": ", ".join(filter(None, (self.street_address, self.postcode))),
            "asset_ids": list(self.asset_ids),
            "markets": [],
            "dispatch_methods": sorted(self.dispatch_methods),
            "gave_boundary_meter_consent_at": utc_text(self.consent_at),
        }


@dataclass(frozen=True, slots=True)
class PausePolicy:
    """How many questions get a pause (`share`, 0 to 1), how long it is, and the seed that decides which."""

    minutes: int = 30
    share: float = 0.67
    seed: int = 0

    def find(self, external_id: str, blocks: Sequence[Block]) -> Block | None:
        """The pause for this question, inside one of its merged blocks, or None for no opportunity.

        The same charger and schedule get the same answer each time.
        """
        merged = merge(blocks)
        if sum((end - start for start, end in merged), timedelta()) < SCHEDULE_MIN:
            return None
        question = f"{self.seed}|{external_id}|{[[utc_text(start), utc_text(end)] for start, end in merged]}"
        if fraction("share", question) >= self.share:
            return None
        length = timedelta(minutes=self.minutes)
        rooms = [(start + PAUSE_LEAD, end - length) for start, end in merged if end - length >= start + PAUSE_LEAD]
        if not rooms:
            return None
        earliest, latest = rooms[int(fraction("room", question) * len(rooms))]
        first, last = -((_EPOCH - earliest) // PAUSE_STEP), (latest - _EPOCH) // PAUSE_STEP
        step = first + int(fraction("start", question) * (last - first + 1))
        start = _EPOCH + step * PAUSE_STEP if first <= last else earliest
        return start, start + length


def fraction(*parts: object) -> float:
    """A number in [0, 1) that looks drawn but is derived from its arguments."""
    digest = blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    # A double has fewer digits than the hash, so the division alone could round up to 1.
    return min(int.from_bytes(digest) / _HASH_RANGE, 1 - 2**-53)


def merge(blocks: Iterable[Block]) -> list[Block]:
    """The same charging time as sorted blocks that neither overlap nor touch."""
    merged: list[Block] = []
    for start, end in sorted(blocks):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def without(blocks: Iterable[Block], pauses: Iterable[Block]) -> list[Block]:
    """What is left of each block, in the order given, when the pauses are cut out."""
    left = list(blocks)
    for pause_start, pause_end in pauses:
        left = [
            part
            for start, end in left
            for part in ((start, min(end, pause_start)), (max(start, pause_end), end))
            if part[0] < part[1]
        ]
    return left


class World:
    """Everything that the simulated Axle remembers; each method is one of its operations, or RefusedError."""

    def __init__(self, policy: PausePolicy, not_eligible: Iterable[str] = ()) -> None:
        self.sites: dict[str, Site] = {}
        self.assets: dict[str, Asset] = {}
        self._policy = policy
        self._not_eligible = frozenset(not_eligible)
        self._site_by_mpan: dict[str, str] = {}
        self._asset_by_external_id: dict[str, str] = {}
        self._made: dict[str, int] = {}
        self._namespace = uuid5(NAMESPACE_URL, f"axle-sim/{policy.seed}")

    def site(self, site_id: str) -> Site:
        """The site, or 404."""
        if site_id not in self.sites:
            raise RefusedError(404, "Site not found")
        return self.sites[site_id]

    def asset(self, asset_id: str) -> Asset:
        """The asset, or 404."""
        if asset_id not in self.assets:
            raise RefusedError(404, "Asset not found")
        return self.assets[asset_id]

    def look_up(self, external_id: str) -> Asset:
        """The asset that goes by this name with us, or 404."""
        return self.asset(self._asset_by_external_id.get(external_id, ""))

    def find_asset(self, asset_id: str | None, external_id: str | None) -> Asset | None:
        """The asset by Axle's id or by our name for it, or None."""
        return self.assets.get(asset_id or self._asset_by_external_id.get(external_id or "", ""))

    def page(self, limit: int, offset: int) -> list[Asset]:
        """At most `limit` assets in the order of their creation, after the first `offset`."""
        return list(islice(self.assets.values(), offset, offset + limit))

    def find_sites(self, mpan: str | None, postcode: str | None) -> list[Site]:
        """The sites with this meter and this postcode (None: any) in the order of their creation."""
        return [site for site in self.sites.values() if mpan in {None, site.mpan} and postcode in {None, site.postcode}]

    def onboard(self, form: SiteForm, asset_form: AssetForm, methods: frozenset[str]) -> tuple[Site, Asset]:
        """A new site with its first asset: 400 without a good consent and e-mail, 409 when one exists, 422."""
        consent_at = _checked_consent(form)
        if form.mpan in self._site_by_mpan:
            raise RefusedError(409, "Site already exists")
        self._refuse_known(asset_form.external_id)
        self._refuse_not_eligible(form.mpan)
        site = self._new_site(form, consent_at, set(methods))
        return site, self._new_asset(asset_form, site)

    def upsert(self, form: UpsertForm) -> dict[str, Any]:
        """The newer onboarding: everything is checked before anything is stored. The body of its answer.

        400 and 422 as in `onboard`, 422 too after an unenrolment without an override, 409 when an asset is of
        another type or at another site.
        """
        consent_at = _checked_consent(form.site)
        self._refuse_not_eligible(form.site.mpan)
        site = self.sites.get(self._site_by_mpan.get(form.site.mpan, ""))
        if site is not None and site.withdrew and not form.override_withdrawal:
            raise RefusedError(422, "User previously withdrew consent; set override_withdrawal to enrol again")
        if not form.assets:
            raise RefusedError(422, "Site is not eligible without an asset")
        for asset_form in form.assets:
            self._refuse_conflict(asset_form, site)
        created = site is None
        if site is None:
            site = self._new_site(form.site, consent_at, set())
        updated = [] if created else _merge_site(site, form.site, consent_at)
        status = "already_enrolled" if form.proposition in site.dispatch_methods else "enrolled"
        site.dispatch_methods.add(form.proposition)
        site.withdrew = False
        return {
            "site": {"site_id": site.id, "site_created": created, "fields_updated": updated, "warnings": []},
            "assets": [self._upsert_asset(asset_form, site) for asset_form in form.assets],
            "enrolment": {"site_id": site.id, "status": status},
        }

    def create_asset(self, form: AssetForm) -> Asset:
        """A further asset: 404 without its site, 409 when it exists."""
        site = self.site(form.site_id or "")
        self._refuse_known(form.external_id)
        return self._new_asset(form, site)

    def delete_asset(self, asset_id: str) -> None:
        """One asset less, or 404; the site stays, even without any."""
        asset = self.asset(asset_id)
        self.sites[asset.site_id].asset_ids.remove(asset_id)
        self._forget(asset)

    def offboard(self, site_id: str) -> tuple[Site, Asset]:
        """The site and all its assets go, or 404. What is returned is as it was before."""
        site = self.site(site_id)
        for asset_id in site.asset_ids:
            self._forget(self.assets[asset_id])
        del self.sites[site_id], self._site_by_mpan[site.mpan]
        if site.last_asset is None:
            raise AssertionError(f"site {site_id} was stored without an asset")
        return site, site.last_asset

    def unenrol(self, site_id: str, proposition: str) -> bool:
        """Takes a site out of a proposition and keeps all else; False when it was out already, or 404."""
        site = self.site(site_id)
        if proposition not in site.dispatch_methods:
            return False
        site.dispatch_methods.remove(proposition)
        site.withdrew = True
        return True

    def modify_schedule(self, asset_id: str, blocks: Sequence[Block]) -> list[Block]:
        """The schedule with Axle's pause cut out, or as it was sent: 404 unknown, 403 without the consent."""
        asset = self.asset(asset_id)
        site = self.sites[asset.site_id]
        if LIMITED_PAUSE not in site.dispatch_methods:
            raise RefusedError(403, "Site lacks the limited_pause dispatch consent")
        pause = self._policy.find(asset.external_id, blocks)
        if pause is None:
            return list(blocks)
        site.pauses += 1
        return without(blocks, [pause])

    def rewards(self, site_id: str) -> dict[str, Any]:
        """What the site has earned: a few pence for each pause that was answered; or 404."""
        pence = self.site(site_id).pauses * PENCE_PER_PAUSE
        return {
            "current_balance_pence": pence,
            "total_earnings_pence": pence,
            "minimum_withdrawal_threshold_pence": WITHDRAWAL_THRESHOLD_PENCE,
            "withdrawal_min_wait_days": WITHDRAWAL_WAIT_DAYS,
            "can_withdraw": pence >= WITHDRAWAL_THRESHOLD_PENCE,
        }

    def snapshot(self) -> dict[str, Any]:
        """All sites and assets as plain values, for whoever verifies what a client has done."""
        return {
            "sites": [
                site.body() | {"email": site.email, "withdrew": site.withdrew, "pauses": site.pauses}
                for site in self.sites.values()
            ],
            "assets": [asset.body() for asset in self.assets.values()],
        }

    def _new_site(self, form: SiteForm, consent_at: datetime, methods: set[str]) -> Site:
        identity = self._identity(f"site/{form.mpan}")
        site = Site(identity, form.mpan, form.postcode, form.street_address, form.email, consent_at, methods)
        self.sites[identity] = site
        self._site_by_mpan[form.mpan] = identity
        return site

    def _new_asset(self, form: AssetForm, site: Site) -> Asset:
        identity = self._identity(f"asset/{form.external_id}")
        asset = Asset(identity, form.external_id, form.type, site.id, dict(form.properties or {}))
        self.assets[identity] = asset
        self._asset_by_external_id[form.external_id] = identity
        site.asset_ids.append(identity)
        site.last_asset = asset
        return asset

    def _upsert_asset(self, form: AssetForm, site: Site) -> dict[str, Any]:
        asset = self.find_asset(None, form.external_id)
        created = asset is None
        updated: list[str] = []
        if asset is None:
            asset = self._new_asset(form, site)
        elif form.properties and asset.properties != asset.properties | form.properties:
            asset.properties |= form.properties
            updated.append("properties")
        return {
            "asset_id": asset.id,
            "external_id": asset.external_id,
            "asset_created": created,
            "fields_updated": updated,
            "warnings": [],
        }

    def _forget(self, asset: Asset) -> None:
        del self.assets[asset.id], self._asset_by_external_id[asset.external_id]

    def _refuse_known(self, external_id: str) -> None:
        if external_id in self._asset_by_external_id:
            raise RefusedError(409, "Asset already exists")

    def _refuse_conflict(self, form: AssetForm, site: Site | None) -> None:
        asset = self.find_asset(None, form.external_id)
        if asset is not None and (site is None or asset.site_id != site.id):
            raise RefusedError(409, "Asset is registered to a different site")
        if asset is not None and asset.type != form.type:
            raise RefusedError(409, "Asset exists with another type")

    def _refuse_not_eligible(self, mpan: str) -> None:
        if mpan in self._not_eligible:
            raise RefusedError(422, "Site is not eligible for the requested dispatch method")

    def _identity(self, name: str) -> str:
        # A name that comes back after an offboarding is another entity: Axle would not reuse the id either.
        made = self._made[name] = self._made.get(name, 0) + 1
        identity: UUID = uuid5(self._namespace, f"{name}/{made}")
        return str(identity)


def _checked_consent(form: SiteForm) -> datetime:
    if form.email is not None and not _EMAIL.fullmatch(form.email):
        raise RefusedError(400, "email is not a valid email address")
    if form.consent_at is None:
        raise RefusedError(400, "gave_boundary_meter_consent_at is required")
    if form.consent_at.tzinfo is None:
        raise RefusedError(400, "gave_boundary_meter_consent_at must be timezone-aware")
    return form.consent_at


def _merge_site(site: Site, form: SiteForm, consent_at: datetime) -> list[str]:
    """Takes over what the form says anew; the names of the fields that changed."""
    sent = {
        "postcode": form.postcode,
        "street_address": form.street_address,
        "email": form.email,
        "consent_at": consent_at,
    }
    changed = [name for name, value in sent.items() if value is not None and getattr(site, name) != value]
    for name in changed:
        setattr(site, name, sent[name])
    return [name.replace("consent_at", "gave_boundary_meter_consent_at") for name in changed]
