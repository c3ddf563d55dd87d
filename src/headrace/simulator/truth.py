"""What came about in a simulation, counted as it happens from what the simulation decided: no event is read.

What a campaign report must find is known here and not inferred: whether a person or a machine opened, whose order followed from what.
Memory: a tally for each campaign, two touches for each reader, and a few numbers in each mail that is still alive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from headrace.simulator import figures
from headrace.simulator.campaigns import Campaign
from headrace.simulator.happenings import ON_THE_WEBSITE, Happening, Kind
from headrace.simulator.mails import Mail
from headrace.simulator.recipients import Recipients
from headrace.simulator.tally import Durations, Tally

# What a mail has been through: bits of `Mail.state`.
SENT: Final = 1
COUNTED: Final = 2
"""As delivered, so far."""
BOUNCED: Final = 4
OPENED: Final = 8
HUMAN_OPENED: Final = 16
"""Or clicked by a person."""
CLICKED: Final = 32
HUMAN_CLICKED: Final = 64
SEEN_OPENED: Final = 128
"""By a person whose client told."""
SCANNED: Final = 256
UNFLAGGED: Final = 512
ORDERED: Final = 1024
MACHINE_OPENED: Final = 2048
PROMPT_SECONDS: Final = 10.0
HOURS: Final = 168


class Touch(NamedTuple):
    at: float
    mail: Mail


class Group:
    """People who get mail, or who do not. `buyers` ordered at least once."""

    def __init__(self) -> None:
        self.buyers = 0
        self.orders = 0
        self.cents = 0


class Truth:
    """Given to a simulation it is filled as the events are drawn; `truth_file.described` says it."""

    def __init__(self) -> None:
        self.campaigns: dict[str, Campaign] = {}
        self.tallies: dict[str, Tally] = {}
        self.events_by_kind = [0] * len(Kind)
        """Distinct events, those of test sends among them."""
        self.test_events = 0
        self.list: dict[str, int] = {}
        self.gained_user_id = 0
        self.mailed, self.holdout = Group(), Group()
        self.cents = 0
        self.led_by = {"click": 0, "open": 0, "nothing": 0}
        self.attributed_to = {"click": 0, "open": 0, "nothing": 0}
        self.refunds, self.refunded_cents = 0, 0
        self.machine_opens = [0, 0, 0]
        """Events by FLAGGED, FLAG_NULL, FLAG_MISSING."""
        self.machine_opened, self.machine_only = 0, 0
        self.scanner_clicks = {"all": 0, "under_10_seconds": 0, "user_agent": 0}
        self.scanned_messages = dict(self.scanner_clicks)
        self.hasty_people = 0
        """Human clicks less than 10 s after delivery."""
        self.to_open, self.to_click, self.to_first = Durations(), Durations(), Durations()
        self.first_opens_by_hour = [0] * HOURS
        self._people: Recipients
        self._bought = bytearray()
        self._last_click: dict[int, Touch] = {}
        self._last_open: dict[int, Touch] = {}
        self._last_send: dict[tuple[str, int], int] = {}
        self._saw: dict[Kind, Callable[[Mail, Happening, Tally], None]] = {
            Kind.DELIVERED: self._delivered,
            Kind.OPENED: self._opened,
            Kind.MACHINE_OPENED: self._machine_opened,
            Kind.CLICKED: self._clicked,
            Kind.SCANNED: self._scanned,
            Kind.UNSUBSCRIBED: self._unsubscribed,
            Kind.BOUNCED_HARD: self._bounced_hard,
            Kind.BOUNCED_SOFT: self._bounced_soft,
            Kind.COMPLAINED: self._complained,
        }

    def begins(self, people: Recipients) -> None:
        """Called once by the simulation that it is given to."""
        self._people = people
        self._bought = bytearray(people.count)
        self.list = people.counts()

    def saw(self, mail: Mail, happening: Happening) -> None:
        """It came about. Called in order of time."""
        kind, campaign = happening.kind, mail.campaign
        self.events_by_kind[kind] += 1
        if kind is Kind.ORDERED:
            self._ordered(mail, happening)
        elif kind is Kind.REFUNDED:
            self._refunded(mail, happening)
        elif campaign is None:
            self.gained_user_id += kind is Kind.IDENTIFIED and happening.number == ON_THE_WEBSITE
        elif campaign.test:
            self.test_events += 1
            self._tally(campaign).test_messages += kind is Kind.DELIVERED
        else:
            self._saw[kind](mail, happening, self._tally(campaign))

    def _tally(self, campaign: Campaign) -> Tally:
        tally = self.tallies.get(campaign.campaign_id)
        if tally is None:
            tally = self.tallies[campaign.campaign_id] = Tally()
            self.campaigns[campaign.campaign_id] = campaign
        return tally

    def _sent(self, mail: Mail, tally: Tally) -> None:
        """It was delivered or bounced for the first time."""
        if mail.state & SENT or mail.campaign is None:
            return
        mail.state |= SENT
        tally.sent += 1
        if mail.campaign.journey_id is not None:
            key = (mail.campaign.campaign_id, mail.recipient)
            tally.repeated_sends += key in self._last_send
            self._last_send[key] = mail.number

    def _delivered(self, mail: Mail, happening: Happening, tally: Tally) -> None:
        self._sent(mail, tally)
        mail.delivered_at = happening.at
        self._count_delivered(mail, tally)

    def _count_delivered(self, mail: Mail, tally: Tally) -> None:
        if not mail.state & COUNTED:
            mail.state |= COUNTED
            tally.delivered += 1

    def _bounced_hard(self, mail: Mail, happening: Happening, tally: Tally) -> None:
        del happening
        self._sent(mail, tally)
        mail.state |= BOUNCED
        tally.hard_bounces += 1

    def _bounced_soft(self, mail: Mail, happening: Happening, tally: Tally) -> None:
        del happening
        self._sent(mail, tally)
        if mail.state & COUNTED:
            tally.delivered -= 1
        mail.state = mail.state & ~COUNTED | BOUNCED
        tally.soft_bounces += 1

    def _acted(self, mail: Mail, tally: Tally) -> None:
        """A person or a machine opened or clicked: a mail that had bounced was delivered nevertheless."""
        if mail.state & BOUNCED:
            self._count_delivered(mail, tally)
        campaign = mail.campaign
        if campaign is not None and campaign.journey_id is not None and mail.state & SENT:
            tally.crossed_events += self._last_send[campaign.campaign_id, mail.recipient] != mail.number

    def _person(self, mail: Mail, at: float, tally: Tally) -> None:
        """A person opened or clicked."""
        if mail.state & HUMAN_OPENED:
            return
        tally.human_opens += 1
        tally.taken_for_human -= bool(mail.state & UNFLAGGED)
        self.machine_only -= bool(mail.state & MACHINE_OPENED)
        mail.state |= HUMAN_OPENED
        self.to_first.add(at - mail.delivered_at)

    def _open(self, mail: Mail, tally: Tally) -> None:
        if not mail.state & OPENED:
            mail.state |= OPENED
            tally.opens += 1

    def _opened(self, mail: Mail, happening: Happening, tally: Tally) -> None:
        self._acted(mail, tally)
        self._person(mail, happening.at, tally)
        self._open(mail, tally)
        self._last_open[mail.recipient] = Touch(happening.at, mail)
        if not mail.state & SEEN_OPENED:
            mail.state |= SEEN_OPENED
            seconds = happening.at - mail.delivered_at
            self.to_open.add(seconds)
            if seconds < HOURS * figures.HOUR:
                self.first_opens_by_hour[int(seconds // figures.HOUR)] += 1

    def _machine_opened(self, mail: Mail, happening: Happening, tally: Tally) -> None:
        """There is one for a mail at the most."""
        self._acted(mail, tally)
        self._open(mail, tally)
        self.machine_opens[happening.number] += 1
        self.machine_opened += 1
        alone = not mail.state & HUMAN_OPENED
        self.machine_only += alone
        mail.state |= MACHINE_OPENED
        if happening.number:
            mail.state |= UNFLAGGED
            tally.taken_for_human += alone

    def _click(self, mail: Mail, tally: Tally) -> None:
        if not mail.state & CLICKED:
            mail.state |= CLICKED
            tally.clicks += 1

    def _clicked(self, mail: Mail, happening: Happening, tally: Tally) -> None:
        """A person clicks each link once."""
        self._acted(mail, tally)
        self._person(mail, happening.at, tally)
        self._click(mail, tally)
        tally.human_clicks_by_link[happening.number] += 1
        self._last_click[mail.recipient] = Touch(happening.at, mail)
        seconds = happening.at - mail.delivered_at
        self.hasty_people += seconds < PROMPT_SECONDS
        if not mail.state & HUMAN_CLICKED:
            mail.state |= HUMAN_CLICKED
            tally.human_clicks += 1
            self.to_click.add(seconds)

    def _scanned(self, mail: Mail, happening: Happening, tally: Tally) -> None:
        self._acted(mail, tally)
        self._click(mail, tally)
        tally.scanned_by_link[happening.number] += 1
        self._note_scan(mail, self.scanner_clicks)
        if not mail.state & SCANNED:
            mail.state |= SCANNED
            self._note_scan(mail, self.scanned_messages)

    def _note_scan(self, mail: Mail, counts: dict[str, int]) -> None:
        scanner = self._people.scanner(mail.recipient)
        counts["all"] += 1
        if scanner is not None:
            counts["under_10_seconds"] += scanner.prompt
            counts["user_agent"] += scanner.tells

    def _unsubscribed(self, mail: Mail, happening: Happening, tally: Tally) -> None:
        del mail, happening
        tally.unsubscribes += 1

    def _complained(self, mail: Mail, happening: Happening, tally: Tally) -> None:
        del mail, happening
        tally.spam += 1

    def _ordered(self, mail: Mail, happening: Happening) -> None:
        recipient, cents = mail.recipient, happening.number
        self.cents += cents
        group = self.holdout if self._people.holdout[recipient] else self.mailed
        group.orders += 1
        group.cents += cents
        group.buyers += not self._bought[recipient]
        self._bought[recipient] = True
        if mail.campaign is None:
            self.led_by["nothing"] += 1
        else:
            self.led_by["click" if mail.state & HUMAN_CLICKED else "open"] += 1
            leading = self._tally(mail.campaign)
            leading.led_orders += 1
            leading.led_cents += cents
        self._attribute(mail, happening.at, cents)

    def _attribute(self, order: Mail, at: float, cents: int) -> None:
        """To the last human click within 5 days, else to the last human open within 1 day."""
        touched, by = self._last_click.get(order.recipient), "click"
        if touched is None or at - touched.at > figures.CLICK_WINDOW:
            touched, by = self._last_open.get(order.recipient), "open"
            if touched is not None and at - touched.at > figures.OPEN_WINDOW:
                touched = None
        if touched is None or touched.mail.campaign is None:
            self.attributed_to["nothing"] += 1
            return
        self.attributed_to[by] += 1
        tally = self._tally(touched.mail.campaign)
        tally.orders += 1
        tally.cents += cents
        order.credited = tally
        if by == "click" and not touched.mail.state & ORDERED:
            touched.mail.state |= ORDERED
            tally.ordering_messages += 1

    def _refunded(self, mail: Mail, happening: Happening) -> None:
        self.refunds += 1
        self.refunded_cents += happening.number
        if mail.credited is not None:
            mail.credited.refunded_orders += 1
            mail.credited.refunded_cents += happening.number
