"""The reference of forbearance and modification: shares of one loan by state, moved on one month at a time.

A state is (kind, payments put off, months of forbearance still to come); what a share of a loan in it owes is the
schedule's balance that many payments ago.
"""

import math
from collections import defaultdict

from msgspec import structs

from engine import Assumptions, Conventions, Loan
from engine.workouts import Forbearance, Modification
from tests.reference import FIELDS, Columns, add_totals, add_up, age_of, rate_of, schedule, severity_of
from tests.reference_late import missed_payments

State = tuple[str, int, int]


class Book:
    """The flows of one month."""

    def __init__(self) -> None:
        self.flows: dict[str, list[float]] = defaultdict(list)
        self.shares: dict[State, list[float]] = defaultdict(list)
        self.defaults: list[tuple[float, float, float]] = []  # owed, monthly interest and fee on it

    def add(self, **amounts: float) -> None:
        for name, amount in amounts.items():
            self.flows[name].append(amount)

    def total(self, name: str) -> float:
        return math.fsum(self.flows[name])


class Recast:
    """A loan with new terms, walked payment by payment; `live` is the share of it that is left."""

    def __init__(self, terms: Modification, owed: float, base: float, whole: float, share: float) -> None:
        assert terms.term is not None
        assert terms.annual_rate is not None
        self.rate, self.left, self.owed = terms.annual_rate / 12, terms.term, owed
        # Interest that was capitalized bears no servicing fee.
        self.charged, self.live = base / whole if whole else 0.0, share * 1.0
        annuity = terms.term if self.rate == 0 else (1 - (1 + self.rate) ** -terms.term) / self.rate
        self.payment = owed / annuity

    def falls(self) -> float:
        """What the next payment repays."""
        return self.owed if self.left == 1 else min(self.payment - self.owed * self.rate, self.owed)

    def step(self) -> tuple[float, float, float]:
        """What is owed before the payment, the interest due with it, and what is owed after."""
        before, due = self.owed, self.owed * self.rate
        self.owed -= self.falls()
        self.left -= 1
        return before, due, self.owed


class Helped:
    def __init__(self, loan: Loan, assumed: Assumptions, rules: Conventions, periods: int) -> None:
        rolls = assumed.delinquency
        assert rolls is not None
        self.loan, self.assumed, self.rules, self.rolls, self.most = loan, assumed, rules, rolls, rolls.buckets
        self.held = rolls.forbearance or Forbearance(months=1, enter=[])
        self.terms = rolls.modification or Modification()
        self.ago = missed_payments(loan, self.most)
        then = structs.replace(loan, remaining_term=loan.remaining_term + self.ago, age=age_of(loan) - self.ago)
        self.share = schedule(then) + [0.0] * (periods + 60)
        self.rate, self.fee = loan.annual_rate / 12, loan.servicing_fee / 12
        self.opening = rules.prepayment_base == "opening_net_of_defaults"
        self.leaves = rules.interest_base == "survivors"
        self.recast: list[Recast] = []

    def owed(self, month: int) -> float:
        return self.loan.balance * self.share[max(month + self.ago, 0)]

    def missed(self, t: int, behind: int) -> float:
        """The interest of month t and of as many months before it as payments were put off."""
        return math.fsum(self.owed(month - 1) * self.rate for month in range(t - behind, t + 1))

    def pay(self, book: Book, share: float, t: int, behind: int, prepaid: float = 0.0, waived: float = 0.0) -> None:
        """One instalment, so many payments behind; `prepaid` of the share prepays the rest of its loan."""
        before, after = self.owed(t - 1 - behind), self.owed(t - behind)
        book.add(
            scheduled_principal=(share - prepaid if self.opening else share) * (before - after),
            prepayment=prepaid * (before if self.opening else after),
            interest=(share - prepaid if self.leaves else share) * before * self.rate * (1 - waived),
        )

    def catch_up(self, book: Book, share: float, t: int, behind: int) -> None:
        book.add(
            scheduled_principal=share * (self.owed(t - 1 - behind) - self.owed(t)),
            interest=share * self.missed(t, behind),
        )
        book.shares["late", 0, 0].append(share)

    def default(self, book: Book, share: float, t: int, behind: int, lost: float) -> None:
        owed = share * self.owed(t - 1 - behind)
        book.add(default=owed, lost_interest=share * lost)
        book.defaults.append((owed, owed * self.rate, owed * self.fee))

    def modify(self, book: Book, share: float, t: int, behind: int, smm: float) -> None:
        """So many payments are put off for good; `share` is before what is forgiven."""
        if self.terms.term is not None:
            self.renew(book, share, t, behind, smm)
            return
        forgiven = share * self.terms.forgiveness
        book.add(shortfall=forgiven * self.owed(t - 1 - behind))
        self.go_on(book, share - forgiven, t, behind, smm)

    def renew(self, book: Book, share: float, t: int, behind: int, smm: float) -> None:
        """New terms on what is owed, the first payment in this month."""
        base, missed = self.owed(t - 1 - behind), 0.0
        if self.terms.arrears == "capitalized":
            missed = math.fsum(self.owed(month - 1) * self.rate for month in range(t - behind, t))
        book.add(interest=share * missed, scheduled_principal=-share * missed)
        forgiven = self.terms.forgiveness
        book.add(shortfall=share * (base + missed) * forgiven)
        each = Recast(self.terms, (base + missed) * (1 - forgiven), base, base + missed, share)
        self.recast.append(each)
        self.pay_anew(book, each, smm)

    def pay_anew(self, book: Book, each: "Recast", smm: float) -> None:
        """A payment of new terms, after which some prepay the rest."""
        smm = min(smm * self.terms.prepayment_multiplier, 1.0)
        before, due, after = each.step()
        book.add(
            scheduled_principal=each.live * ((1 - smm) if self.opening else 1.0) * (before - after),
            interest=each.live * ((1 - smm) if self.leaves else 1.0) * due,
            prepayment=each.live * smm * (before if self.opening else after),
        )
        each.live *= 1 - smm

    def move_anew(self, book: Book, each: "Recast", smm: float) -> None:
        """A month of a loan with new terms: some default, the rest pays."""
        failing = each.live * self.terms.redefault
        fees = each.owed * each.charged * self.fee
        book.add(servicing_fee=each.live * fees, default=failing * each.owed)
        book.add(lost_interest=failing * each.owed * each.rate)
        book.defaults.append((failing * each.owed, failing * each.owed * each.rate, failing * fees))
        each.live -= failing
        self.pay_anew(book, each, smm)

    def go_on(self, book: Book, share: float, t: int, behind: int, smm: float) -> None:
        prepaid = share * min(smm * self.terms.prepayment_multiplier, 1.0)
        self.pay(book, share, t, behind, prepaid, self.terms.interest_relief)
        book.shares["modified", behind, 0].append(share - prepaid)

    def move(self, book: Book, state: State, share: float, t: int, smm: float) -> None:
        kind, behind, left = state
        enter, rolls, held = [*self.held.enter, *[0.0] * 5], self.rolls, self.held
        changed = [0.0, *self.terms.rates, *[0.0] * 5]
        book.add(servicing_fee=share * self.owed(t - 1 - behind) * self.fee)
        if kind == "modified":
            failing = share * self.terms.redefault
            self.default(book, failing, t, behind, self.owed(t - 1 - behind) * self.rate)
            self.go_on(book, share - failing, t, behind, smm)
        elif kind == "held" and left:
            book.shares["held", behind + 1, left - 1].append(share)
        elif kind == "held":
            self.catch_up(book, share * held.reinstate, t, behind)
            self.modify(book, share * held.modify, t, behind, smm)
            failing = share * max(1 - held.reinstate - held.modify, 0.0)
            self.default(book, failing, t, behind, self.missed(t, behind))
        else:
            if enter[behind]:
                book.shares["held", behind + 1, held.months - 1].append(share * enter[behind])
            if behind == 0:
                pays = max(1 - rolls.roll[0] - enter[0], 0.0)
                smm = min(smm, pays) if self.rules.prepayment_base == "gross" else smm * pays
                self.pay(book, share * pays, t, 0, share * smm)
                book.shares["late", 0, 0].append(share * (pays - smm))
            else:
                cure = rolls.cure[behind - 1]
                stays = share * max(1 - rolls.roll[behind] - cure - enter[behind] - changed[behind], 0.0)
                self.catch_up(book, share * cure, t, behind)
                self.pay(book, stays, t, behind)
                book.shares["late", behind, 0].append(stays)
                self.modify(book, share * changed[behind], t, behind, smm)
            if behind < self.most:
                book.shares["late", behind + 1, 0].append(share * rolls.roll[behind])
            else:
                self.default(book, share * rolls.roll[behind], t, behind, self.missed(t, behind))

    def run(self, periods: int) -> Columns:
        """Every field over the periods."""
        states: dict[State, float] = {("late", self.ago, 0): 1.0}
        out: Columns = {name: [] for name in FIELDS}
        cohorts: list[tuple[int, float, float, float]] = []
        stages = self.assumed.stages
        for t in range(1, periods + 1):
            book = Book()
            smm = rate_of(self.assumed.prepayment, t, age_of(self.loan) + t)
            self.recast = [each for each in self.recast if each.left]
            anew = [(each.live * each.owed, each.live * each.falls(), each.rate) for each in self.recast]
            for each_recast in self.recast:
                self.move_anew(book, each_recast, smm)
            for state, share in states.items():
                if share > 0:
                    self.move(book, state, share, t, smm)
            alive = math.fsum(states.values())
            before = [(each, self.left(stages, t - 1 - each[0])) for each in cohorts]
            cohorts += [(t, *each) for each in book.defaults]
            total = self.rules.servicing_fee_base == "total"
            row = dict.fromkeys(FIELDS, 0.0)
            row |= {name: book.total(name) for name in book.flows}
            row["servicing_fee"] += math.fsum(left * each[3] for each, left in before) if total else 0.0
            frozen = math.fsum(left * each[2] for each, left in before)
            row["lost_interest"] += frozen
            row["expected_interest"] = alive * self.owed(t - 1) * self.rate + frozen
            row["expected_principal"] = alive * (self.owed(t - 1) - self.owed(t))
            row["expected_interest"] += math.fsum(owed * rate for owed, _, rate in anew)
            row["expected_principal"] += math.fsum(falls for _, falls, _ in anew)
            row |= self.liquidated(cohorts, stages, t)
            row["loss"] += row["shortfall"]
            states = {state: math.fsum(shares) for state, shares in book.shares.items()}
            worth = {state: share * self.owed(t - state[1]) for state, share in states.items()}
            renewed = [each.live * each.owed for each in self.recast]
            row["balance"] = math.fsum([*worth.values(), *renewed])
            row["forbearance"] = math.fsum(value for (kind, _, _), value in worth.items() if kind == "held")
            row["modified"] = math.fsum(value for (kind, _, _), value in worth.items() if kind == "modified")
            row["modified"] += math.fsum(renewed)
            for k, name in enumerate(("delinquent_30", "delinquent_60", "delinquent_90", "delinquent_120"), 1):
                row[name] = worth.get(("late", k, 0), 0.0)
            add_totals(row)
            for name in FIELDS:
                out[name].append(row[name])
        return out

    @staticmethod
    def left(stages: list[float], after: int) -> float:
        return math.fsum(stages[after + 1 :])

    def liquidated(
        self, cohorts: list[tuple[int, float, float, float]], stages: list[float], t: int
    ) -> dict[str, float]:
        """What is liquidated, lost and recovered in month t, and left in foreclosure after it."""
        early = self.rules.loss_timing == "default"
        by_default = getattr(self.assumed.severity, "month", "default") == "default"
        ended, lost, booked, left = [], [], [], []
        for month, owed, _, _ in cohorts:
            for after, part in enumerate(stages):
                loss = part * owed * severity_of(self.assumed, month if by_default else month + after)
                if month + after == t:
                    ended.append(part * owed)
                    lost.append(loss)
                if t == (month if early else month + after):
                    booked.append(loss)
                if month + after > t:
                    left.append(part * owed - (loss if early else 0.0))
        return {
            "liquidation": math.fsum(ended), "recovery": math.fsum(ended) - math.fsum(lost), "loss": math.fsum(booked),
            "foreclosure": math.fsum(left),
        }  # fmt: skip


def project_pool(loans: list[Loan], assumed: Assumptions, rules: Conventions, periods: int) -> Columns:
    """Every field of the pool over the periods."""
    return add_up([Helped(loan, assumed, rules, periods).run(periods) for loan in loans], periods)
