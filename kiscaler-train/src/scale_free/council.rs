//! Rules that are rehearsed in shadow: what each would have cost on the load seen so far.
//!
//! Arrivals do not depend on who scales (an exogenous input). So a rule needs no turn at the service to be judged: it is
//! played against the load that was observed, with pods that take a cold start to come, on a model of backlog and
//! lateness, and its cost is booked in the units of the objective. The rule that would have been cheapest so far leads
//! (prediction with expert advice, follow the leader: Cesa-Bianchi & Lugosi 2006). What a rule tuned to a service would be
//! is so found while serving it, and what rules cost says what kind of load this is.

use std::fmt::{self, Write as _};

use super::demand::Demand;
use crate::facts::Facts;

/// Steps for which rules keep the highest load.
pub(super) const REACHES: [usize; 6] = [0, 4, 12, 40, 120, 256];

/// Factors on the load that rules want to be able to take.
pub(super) const HEADROOMS: [f64; 6] = [0.6, 0.85, 1.0, 1.15, 1.35, 1.75];

/// Loads that rules keep room for beyond that, over the mean load.
pub(super) const SPARES: [f64; 4] = [0.0, 0.4, 1.0, 2.0];

/// Rules: each reach with each headroom and each spare, without and with the forecast's own error.
const RULES: usize = REACHES.len() * HEADROOMS.len() * 2 * SPARES.len();

/// The rule that leads while nothing is known: a forecast with its error, held for a minute, as `predictive` does.
const FIRST: usize = number(1, 2, 1, 0);

/// Factor on the past at each step: what was an hour ago counts a third, and a working day ago.
const MEMORIES: [f64; 2] = [0.995, 0.9995];

/// How much costs over each memory count: what happens once in hours is not forgotten, and what changes is noticed.
const WEIGHTS: [f64; 2] = [0.7, 0.3];

/// Steps for which [`FIRST`] is favoured, and by how much of the mean load's cost.
const PRIOR: (f64, f64) = (40.0, 0.1);

/// Another takes the lead if it costs less than this share of what the leader does.
const BETTER: f64 = 0.98;

/// Longest cold start that shadows know, in steps.
const LONGEST: usize = 16;

/// What a step's requests may have been squeezed into: one over the share of the step in which all of them came.
const COMPRESSIONS: [f64; 7] = [1.0, 1.5, 2.25, 3.5, 5.5, 9.0, 15.0];

/// The part of lateness that is laid to how requests came; the rest may be the model's own error.
const BLAME: f64 = 0.9;

/// Below this share of late requests, nobody was late.
const NOBODY: f64 = 0.005;

/// Share by which a step changes what is usual.
const LEARNING: f64 = 0.1;

const fn number(reach: usize, headroom: usize, wary: usize, spare: usize) -> usize {
    ((reach * HEADROOMS.len() + headroom) * 2 + wary) * SPARES.len() + spare
}

/// What `ready` pods with a `backlog` do in a `part` of a step of `load`, whose requests came in one over `compression` of
/// it: what waits then, and what was late. `usual` is the share that is late while so many pods meet such a load for long.
#[inline]
fn meet(
    facts: &Facts,
    backlog: f64,
    (load, compression): (f64, f64),
    ready: u32,
    part: f64,
    usual: impl FnOnce(u32) -> f64,
) -> (f64, f64) {
    let seconds = part * facts.step_s;
    let arrivals = load * facts.saturation * seconds;
    let burst_s = seconds / compression;
    let (held, late) = facts.fluid.step(backlog, arrivals, ready, burst_s);
    let held = if held > 0.0 { facts.fluid.step(held, 0.0, ready, seconds - burst_s).0 } else { 0.0 };
    (held, late.max(usual(ready) * arrivals))
}

/// What came of all rules' pods, as far as it is remembered.
#[derive(Clone, Debug)]
struct Accounts {
    /// Factor on the past at each step.
    memory: f64,
    /// Requests that were late.
    late: Vec<f64>,
    /// Pods, by step.
    pods: Vec<f64>,
    changes: Vec<f64>,
    /// Steps.
    weight: f64,
}

impl Accounts {
    fn new(memory: f64) -> Self {
        let none = || vec![0.0; RULES];
        Accounts { memory, late: none(), pods: none(), changes: none(), weight: 0.0 }
    }

    /// Books a step in which `late` requests were late, `asked` pods paid for and `before` the step before.
    fn book(&mut self, late: &[f64], asked: &[u16], before: &[u16]) {
        add(self.memory, &mut self.late, late.iter().copied());
        add(self.memory, &mut self.pods, asked.iter().map(|&pods| f64::from(pods)));
        add(
            self.memory,
            &mut self.changes,
            asked.iter().zip(before).map(|(&now, &then)| f64::from(now.abs_diff(then))),
        );
        self.weight = self.memory * self.weight + 1.0;
    }

    /// Adds `share` of a step's mean cost to each rule's `costs`, with `handicap` on top of it all; `prices` as in [`mean`].
    fn add_costs(&self, costs: &mut [f64], share: f64, prices: (f64, f64), handicap: f64) {
        let steps = self.weight + PRIOR.0;
        let sums = self.late.iter().zip(&self.pods).zip(&self.changes);
        for (cost, ((&late, &pods), &changes)) in costs.iter_mut().zip(sums) {
            *cost += mean((late, pods, changes), prices, handicap, steps) * share;
        }
    }

    /// A step's mean cost of one rule.
    fn cost(&self, rule: usize, prices: (f64, f64)) -> f64 {
        mean((self.late[rule], self.pods[rule], self.changes[rule]), prices, 0.0, self.weight + PRIOR.0)
    }
}

/// A step's mean cost, in pods, of what was `late`, of `pods` and of `changes` in so many `steps`, and a `handicap` on top of it
/// all; a late request and a change each have a price.
#[inline]
fn mean((late, pods, changes): (f64, f64, f64), (a_late, a_change): (f64, f64), handicap: f64, steps: f64) -> f64 {
    (a_late * late + pods + a_change * changes + handicap) / steps
}

/// Lets `sums` fade, and adds `values` to them.
fn add(memory: f64, sums: &mut [f64], values: impl Iterator<Item = f64>) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = memory * *sum + value;
    }
}

/// Shadows of all rules: the pods they would have, and what these did.
#[derive(Clone, Debug)]
struct Shadows {
    /// What each asked for, a row of all rules for each step, around in a ring.
    asked: Vec<[u16; RULES]>,
    /// The newest row.
    newest: usize,
    /// Requests that wait, for each.
    backlogs: Vec<f64>,
    accounts: [Accounts; MEMORIES.len()],
    /// Scratch: what was late, for each.
    late: Vec<f64>,
    /// Scratch: of each number of pods, what comes of a step in which nothing waited before; NaN where nobody asked.
    fresh: Vec<(f64, f64)>,
}

impl Shadows {
    fn new(initial: u32) -> Self {
        Shadows {
            asked: vec![[narrow(initial); RULES]; LONGEST + 2],
            newest: 0,
            backlogs: vec![0.0; RULES],
            accounts: MEMORIES.map(Accounts::new),
            late: vec![0.0; RULES],
            fresh: Vec::new(),
        }
    }

    /// What was asked for so many steps ago.
    fn row(&self, ago: usize) -> &[u16; RULES] {
        &self.asked[(self.newest + self.asked.len() - ago) % self.asked.len()]
    }

    /// Meets a step of `load`; a pod serves once it has been wanted for `lead` steps and the `part` of another.
    fn settle(&mut self, facts: &Facts, load: (f64, f64), (lead, part): (usize, f64), usual: impl Fn(u32) -> f64) {
        // Pods that serve at the end of the step, and at its beginning.
        let mut after = *self.row(0);
        let lower = |least: &mut [u16; RULES], row: &[u16; RULES]| {
            least.iter_mut().zip(row).for_each(|(least, &asked)| *least = (*least).min(asked));
        };
        (1..=lead).for_each(|ago| lower(&mut after, self.row(ago)));
        let mut before = after;
        lower(&mut before, self.row(lead + 1));
        // Many shadows have few numbers of pods between them, and mostly nothing waits.
        self.fresh.clear();
        self.fresh.resize(facts.takes.len(), (f64::NAN, f64::NAN));
        for rule in 0..RULES {
            let (before, after) = (u32::from(before[rule]), u32::from(after[rule]));
            let backlog = self.backlogs[rule];
            (self.backlogs[rule], self.late[rule]) = if before == after && backlog == 0.0 {
                let known = &mut self.fresh[(after as usize).min(facts.takes.len() - 1)];
                if known.0.is_nan() {
                    *known = meet(facts, 0.0, load, after, 1.0, &usual);
                }
                *known
            } else if before == after {
                meet(facts, backlog, load, after, 1.0, &usual)
            } else {
                let (held, missed) = meet(facts, backlog, load, before, part, &usual);
                let (held, more) = meet(facts, held, load, after, 1.0 - part, &usual);
                (held, missed + more)
            };
        }
        let (asked, before) = (self.newest, (self.newest + self.asked.len() - 1) % self.asked.len());
        for accounts in &mut self.accounts {
            accounts.book(&self.late, &self.asked[asked], &self.asked[before]);
        }
    }

    /// A row for what is asked for now.
    fn ask(&mut self) -> &mut [u16; RULES] {
        self.newest = (self.newest + 1) % self.asked.len();
        &mut self.asked[self.newest]
    }

    /// A step's mean cost of each rule; all but [`FIRST`] have a `handicap` on top of it all. `prices` as in [`mean`].
    fn costs(&self, costs: &mut [f64], prices: (f64, f64), handicap: f64) {
        costs.fill(0.0);
        let mut first = 0.0;
        for (accounts, share) in self.accounts.iter().zip(WEIGHTS) {
            accounts.add_costs(costs, share, prices, handicap);
            first += accounts.cost(FIRST, prices) * share;
        }
        costs[FIRST] = first;
    }
}

/// A number of pods as it is kept.
fn narrow(pods: u32) -> u16 {
    u16::try_from(pods).unwrap_or(u16::MAX)
}

/// All rules and who leads.
#[derive(Clone, Debug)]
pub(super) struct Council {
    shadows: Shadows,
    /// Whole steps from the load that speaks for a pod to when that pod serves, and the part of another.
    lead: (usize, f64),
    /// What waits for the service's own pods, and what of theirs was late so far, on the same model.
    own: (f64, f64),
    /// Requests so far, and how many of them were late, as far as they are remembered.
    arrived: f64,
    late: f64,
    ready: u32,
    /// What a step's requests are usually squeezed into.
    compression: f64,
    leader: usize,
    /// Whether the cheapest leads, and not always the first.
    elects: bool,
    /// What each rule costs a step, in pods.
    costs: Vec<f64>,
    /// The least cost of all rules with a reach, a headroom, a spare.
    least: ([f64; REACHES.len()], [f64; HEADROOMS.len()], [f64; SPARES.len()]),
    /// What each wants to be able to take now, in saturated pods.
    loads: Vec<f64>,
}

/// The compression, of ascending `outcomes`, at which `late` requests are late.
fn explained(outcomes: &[f64; COMPRESSIONS.len()], late: f64) -> f64 {
    let at = outcomes.partition_point(|&outcome| outcome < late);
    match at.checked_sub(1) {
        None => COMPRESSIONS[0],
        Some(low) if at < outcomes.len() => {
            let share = (late - outcomes[low]) / (outcomes[at] - outcomes[low]);
            COMPRESSIONS[low] + share * (COMPRESSIONS[at] - COMPRESSIONS[low])
        }
        Some(last) => COMPRESSIONS[last],
    }
}

impl Council {
    pub(super) fn new(facts: &Facts, initial: u32, elects: bool) -> Self {
        let lead = facts.lead_steps().min(LONGEST as f64);
        Council {
            shadows: Shadows::new(initial),
            lead: (lead as usize, lead.fract()),
            own: (0.0, 0.0),
            arrived: 0.0,
            late: 0.0,
            ready: initial,
            compression: COMPRESSIONS[0],
            leader: FIRST,
            elects,
            costs: vec![0.0; RULES],
            least: Default::default(),
            loads: vec![0.0; RULES],
        }
    }

    /// Begins another run of the same service with `initial` pods; shadows keep what they have.
    pub(super) fn begin_again(&mut self, initial: u32) {
        (self.ready, self.own.0) = (initial, 0.0);
    }

    /// Settles the last step, if its load was seen, and lets every rule decide again, within `limits`; `ready` pods were
    /// there at its end.
    pub(super) fn observe(&mut self, facts: &Facts, demand: &Demand, ready: u32, limits: (u32, u32)) {
        let before = std::mem::replace(&mut self.ready, ready);
        if demand.missed() == 0 && demand.steps() > 0 {
            self.settle(facts, demand.newest(), demand.late, before.min(ready));
        }
        self.judge(facts, demand);
        self.decide(facts, demand, limits);
    }

    fn settle(&mut self, facts: &Facts, load: f64, late: f64, ready: u32) {
        let compression = self.infer(facts, load, late, ready);
        let arrivals = load * facts.saturation * facts.step_s;
        let usual = |ready: u32| facts.late_share(ready, compression * load);
        let (held, missed) = meet(facts, self.own.0, (load, compression), ready, 1.0, usual);
        self.own = (held, MEMORIES[0] * self.own.1 + missed);
        self.arrived = MEMORIES[0] * self.arrived + arrivals;
        self.late = MEMORIES[0] * self.late + late * arrivals;
        self.shadows.settle(facts, (load, compression), self.lead, usual);
    }

    /// What the step's requests were squeezed into, by the share of them that was late with `ready` pods. Scrapes tell how
    /// many came in a step, and not when; bursts within it are what breaks an objective shorter than a step.
    fn infer(&mut self, facts: &Facts, load: f64, late: f64, ready: u32) -> f64 {
        let arrivals = load * facts.saturation * facts.step_s;
        let outcomes = COMPRESSIONS.map(|factor| {
            meet(facts, self.own.0, (load, factor), ready, 1.0, |ready| facts.late_share(ready, factor * load)).1
        });
        if late > NOBODY {
            let explained = explained(&outcomes, BLAME * late * arrivals);
            self.compression += LEARNING * (explained - self.compression);
            return explained;
        }
        // As far as nobody was late, it may have been as usual.
        let most = explained(&outcomes, NOBODY * arrivals);
        self.compression += LEARNING * (most - self.compression).min(0.0);
        most.min(self.compression)
    }

    fn judge(&mut self, facts: &Facts, demand: &Demand) {
        let wish = facts.preference;
        let late = wish.violation / wish.cost * facts.most / (demand.mean() * facts.saturation * facts.step_s);
        let change = wish.churn / wish.cost;
        let handicap = PRIOR.0 * PRIOR.1 * demand.mean();
        self.shadows.costs(&mut self.costs, (late, change), handicap);
        let best = (0..RULES).min_by(|&a, &b| self.costs[a].total_cmp(&self.costs[b])).unwrap_or(FIRST);
        let (reaches, headrooms, spares) = &mut self.least;
        (*reaches, *headrooms, *spares) = ([f64::INFINITY; _], [f64::INFINITY; _], [f64::INFINITY; _]);
        for (number, costs) in self.costs.chunks_exact(2 * SPARES.len()).enumerate() {
            let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
            let (reach, headroom) = (&mut reaches[number / HEADROOMS.len()], &mut headrooms[number % HEADROOMS.len()]);
            (*reach, *headroom) = (reach.min(least), headroom.min(least));
            for (number, &cost) in costs.iter().enumerate() {
                let spare = &mut spares[number % SPARES.len()];
                *spare = spare.min(cost);
            }
        }
        if self.elects && self.costs[best] < BETTER * self.costs[self.leader] {
            self.leader = best;
        }
    }

    fn decide(&mut self, facts: &Facts, demand: &Demand, (min, max): (u32, u32)) {
        let (expected, to_drain) = (demand.expected(), demand.to_drain(facts));
        let mut highest = [0.0f64; REACHES.len()];
        let mut past = demand.past();
        let (mut so_far, mut seen) = (0.0f64, 0);
        for (highest, reach) in highest.iter_mut().zip(REACHES) {
            // Loads are numbers, so a comparison will do; `max` would mind those that are none.
            let within = past.by_ref().take(reach - seen);
            so_far = within.fold(so_far, |highest, load| if load > highest { load } else { highest });
            (*highest, seen) = (so_far, reach);
        }
        // Just below what one pod takes, so that a factor of 1 asks for one.
        let least = 0.999 * facts.takes(1);
        let asked = self.shadows.ask();
        let mut near = 0;
        for (headroom, factor) in HEADROOMS.iter().enumerate() {
            for (wary, expected) in expected.into_iter().enumerate() {
                let mut known = (f64::NAN, [(0.0, 0); SPARES.len()]);
                for (reach, highest) in highest.into_iter().enumerate() {
                    let base = expected.max(highest);
                    // Where more is expected than ever was, all reaches want the same.
                    if base != known.0 {
                        let wish = |spare: f64| {
                            let load = (factor * base + spare * demand.mean() + to_drain).max(least);
                            near = facts.pods_near(load, near);
                            (load, narrow(near.clamp(min, max)))
                        };
                        known = (base, SPARES.map(wish));
                    }
                    let first = number(reach, headroom, wary, 0);
                    for (spare, (load, pods)) in known.1.into_iter().enumerate() {
                        (self.loads[first + spare], asked[first + spare]) = (load, pods);
                    }
                }
            }
        }
    }

    /// Writes the leading rule, for people.
    pub(super) fn describe(&self, facts: &Facts, to: &mut String) -> fmt::Result {
        let (reach, headroom, wary, spare) = self.leader();
        match (REACHES[reach], wary) {
            (0, 0) => to.write_str("what is expected")?,
            (0, _) => to.write_str("what is expected, and its error")?,
            (steps, _) => write!(to, "what {:.0} s held or is expected", steps as f64 * facts.step_s)?,
        }
        write!(to, " × {}", HEADROOMS[headroom])?;
        match SPARES[spare] {
            0.0 => Ok(()),
            share => write!(to, " + {share} × the mean"),
        }
    }

    /// The load that the leader wants to be able to take.
    pub(super) fn load(&self) -> f64 {
        self.loads[self.leader]
    }

    /// Share of late requests so far.
    pub(super) fn late(&self) -> f64 {
        if self.arrived > 0.0 { self.late / self.arrived } else { 0.0 }
    }

    /// The share that the model lays to what is known: loads, pods, and how requests usually come.
    pub(super) fn late_by_model(&self) -> f64 {
        if self.arrived > 0.0 { (self.own.1 / self.arrived).min(1.0) } else { 0.0 }
    }

    /// What a step's requests are usually squeezed into: one over a share of the step.
    pub(super) fn compression(&self) -> f64 {
        self.compression
    }

    /// Reach, headroom, wariness and spare of the leader, by number.
    pub(super) fn leader(&self) -> (usize, usize, usize, usize) {
        let (rest, spare) = (self.leader / SPARES.len(), self.leader % SPARES.len());
        (rest / 2 / HEADROOMS.len(), rest / 2 % HEADROOMS.len(), rest % 2, spare)
    }

    /// What the leader costs a step, in pods.
    pub(super) fn cost(&self) -> f64 {
        self.costs[self.leader]
    }

    /// What the best rule of that reach costs, over what the leader does.
    pub(super) fn of_reach(&self, reach: usize) -> f64 {
        self.least.0[reach] / self.cost().max(1e-9)
    }

    /// What the best rule of that headroom costs, over what the leader does.
    pub(super) fn of_headroom(&self, headroom: usize) -> f64 {
        self.least.1[headroom] / self.cost().max(1e-9)
    }

    /// What the best rule of that spare costs, over what the leader does.
    pub(super) fn of_spare(&self, spare: usize) -> f64 {
        self.least.2[spare] / self.cost().max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `loads` to a council of up to 12 pods that take two steps to come; all that is late by its own model.
    fn rehearsed(violation: f64, loads: impl Iterator<Item = f64>) -> (Facts, Council) {
        let mut facts = Facts::plain(12);
        (facts.cold_start_s, facts.slow_start_s, facts.preference.violation) = (2.0, 2.0, violation);
        let (mut demand, mut council) = (Demand::new(&facts), Council::new(&facts, 9, true));
        for load in loads {
            demand.take(Some(load));
            council.observe(&facts, &demand, 12, (1, 12));
        }
        (facts, council)
    }

    #[test]
    fn where_bursts_return_a_rule_that_waits_for_them_leads() {
        // From 1 to 9 for three steps, every thirty: no forecast of two steps ahead is in time.
        let bursts = || (0..240).map(|step| if step % 30 < 3 { 9.0 } else { 1.0 });
        let (_, dear) = rehearsed(300.0, bursts());
        assert!(REACHES[dear.leader().0] >= 30 && dear.load() >= 9.0, "{:?} {}", dear.leader(), dear.load());
        // Where being late costs next to nothing, nobody keeps nine pods for it.
        let (_, cheap) = rehearsed(0.3, bursts());
        assert!(cheap.load() < 4.0, "{:?} {}", cheap.leader(), cheap.load());
    }

    #[test]
    fn on_a_load_that_stands_still_the_leader_wants_just_that() {
        let (facts, council) = rehearsed(10.0, (0..200).map(|_| 4.4));
        assert_eq!(facts.pods_for(council.load()), 5);
        // What others would have cost is known: half as much again costs more, and less costs more, too.
        let of = |headroom: f64| {
            let number = HEADROOMS.iter().position(|&h| h == headroom).unwrap();
            council.of_headroom(number)
        };
        assert!(of(1.0) <= 1.02 && of(1.75) > 1.2 && of(0.85) > of(1.0), "{} {} {}", of(1.0), of(1.75), of(0.85));
        // Three fifths of it and two fifths of the mean are as good.
        assert!(of(0.6) < 1.05 && council.of_spare(3) > 1.2, "{} {}", of(0.6), council.of_spare(3));
    }

    #[test]
    fn pods_of_a_shadow_come_within_a_step_too() {
        // Asked for two steps ago, they take one and a half: for half of the step one pod meets three times what it takes.
        let facts = Facts::plain(12);
        let mut shadows = Shadows::new(1);
        shadows.ask().fill(3);
        shadows.ask().fill(3);
        shadows.settle(&facts, (3.0, 1.0), (1, 0.5), |_| 0.0);
        // 1.5 come then and 1 remains; all but the first 0.1 / 1 of them find more than 0.1 waiting. Then as many come as pass,
        // and everybody waits.
        let accounts = &shadows.accounts[0];
        assert!((accounts.late[7] - (1.5 * 0.9 + 1.5)).abs() < 1e-9, "{:?}", accounts.late);
        assert!((shadows.backlogs[7] - 1.0).abs() < 1e-9);
        // It pays for three pods, which it did not change in this step.
        assert_eq!((accounts.pods[7], accounts.changes[7], accounts.weight), (3.0, 0.0, 1.0));
    }

    #[test]
    fn what_is_looked_up_for_many_is_what_each_would_meet() {
        // Shadows with few pods and many, with a backlog and without, in any order; against each of them on its own.
        let mut facts = Facts::plain(12);
        facts.preference.violation = 30.0;
        let (lead, usual) = ((1, 0.25), |ready: u32| 0.01 * f64::from(ready));
        let mut shadows = Shadows::new(4);
        let mut own: Vec<(Vec<u32>, f64, f64)> = (0..RULES).map(|_| (vec![4; 3], 0.0, 0.0)).collect();
        for step in 0..60usize {
            let load = ([0.5, 4.0, 9.0, 3.0][step % 4], 1.5);
            let wish = |rule: usize| 1 + ((rule * 7 + step * (1 + rule % 3)) % 12) as u32;
            for (rule, asked) in shadows.ask().iter_mut().enumerate() {
                *asked = narrow(wish(rule));
            }
            shadows.settle(&facts, load, lead, usual);
            for (rule, (asked, backlog, late)) in own.iter_mut().enumerate() {
                asked.push(wish(rule));
                let [before, then, now] = asked[asked.len() - 3..] else { panic!() };
                let after = then.min(now);
                let mut missed = 0.0;
                let stretches =
                    if before < after { vec![(before, lead.1), (after, 1.0 - lead.1)] } else { vec![(after, 1.0)] };
                for (ready, part) in stretches {
                    let (held, more) = meet(&facts, *backlog, load, ready, part, usual);
                    (*backlog, missed) = (held, missed + more);
                }
                *late = MEMORIES[0] * *late + missed;
                assert_eq!((shadows.backlogs[rule], shadows.accounts[0].late[rule]), (*backlog, *late), "{rule}");
            }
        }
        assert!(shadows.backlogs.iter().any(|&backlog| backlog > 0.0) && shadows.backlogs.contains(&0.0));
    }

    #[test]
    fn bursts_within_steps_show_in_what_was_late() {
        // Two of four pods would do on average; a fifth of the requests was late all the same.
        let mut facts = Facts::plain(12);
        facts.step_s = 10.0;
        let (mut demand, mut council) = (Demand::new(&facts), Council::new(&facts, 4, true));
        for _ in 0..240 {
            demand.take(Some(2.0));
            demand.late = 0.2;
            council.observe(&facts, &demand, 4, (1, 12));
        }
        // 20 requests, of which 4 late: what came in 1/c of 10 s met 4 a second. With c below 2 nobody is late, and soon
        // beyond it nearly everybody, so it is about that.
        assert!((1.5..2.5).contains(&council.compression()), "{}", council.compression());
        assert!(facts.pods_for(council.load()) >= 4, "{}", council.load());
        // Nobody late any more, though four pods would show it: it is over.
        for _ in 0..60 {
            demand.take(Some(2.0));
            demand.late = 0.0;
            council.observe(&facts, &demand, 4, (1, 12));
        }
        assert!(council.compression() < 2.3, "{}", council.compression());
    }

    #[test]
    fn what_explains_lateness_lies_between_its_neighbours() {
        let outcomes = [0.0, 0.0, 1.0, 3.0, 3.0, 7.0, 9.0];
        assert_eq!(explained(&outcomes, 0.0), COMPRESSIONS[0]);
        assert_eq!(explained(&outcomes, 2.0), f64::midpoint(COMPRESSIONS[2], COMPRESSIONS[3]));
        assert_eq!(explained(&outcomes, 99.0), COMPRESSIONS[6]);
    }

    #[test]
    fn a_new_run_keeps_what_is_known_of_the_load() {
        let (facts, mut council) = rehearsed(300.0, (0..240).map(|step| if step % 30 < 3 { 9.0 } else { 1.0 }));
        let before = council.leader();
        council.begin_again(1);
        assert_eq!(council.leader(), before);
        let mut demand = Demand::new(&facts);
        demand.take(Some(1.0));
        council.observe(&facts, &demand, 1, (1, 12));
        assert_eq!(council.leader(), before);
    }
}
