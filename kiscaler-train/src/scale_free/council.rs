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
pub(super) const HEADROOMS: [f64; 5] = [0.85, 1.0, 1.2, 1.5, 2.0];

/// Rules: each reach with each headroom, without and with the forecast's own error.
const RULES: usize = REACHES.len() * HEADROOMS.len() * 2;

/// The rule that leads while nothing is known: a forecast with its error, held for a minute, as `predictive` does.
const FIRST: usize = number(1, 1, 1);

/// Factor on the past at each step: what was an hour ago counts a third, and a working day ago.
const MEMORIES: [f64; 2] = [0.995, 0.9995];

/// How much costs over each memory count: what happens once in hours is not forgotten, and what changes is noticed.
const WEIGHTS: [f64; 2] = [0.7, 0.3];

/// Steps for which [`FIRST`] is favoured, and by how much of the mean load's cost.
const PRIOR: (f64, f64) = (8.0, 0.1);

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

const fn number(reach: usize, headroom: usize, wary: usize) -> usize {
    (reach * HEADROOMS.len() + headroom) * 2 + wary
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

/// What came of some pods, by how long it is remembered.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Requests that were late.
    late: f64,
    /// Pods, by step.
    pods: f64,
    changes: f64,
    /// Steps.
    weight: f64,
}

impl Account {
    fn book(&mut self, memory: f64, late: f64, pods: u32, changes: u32) {
        self.late = memory * self.late + late;
        self.pods = memory * self.pods + f64::from(pods);
        self.changes = memory * self.changes + f64::from(changes);
        self.weight = memory * self.weight + 1.0;
    }

    /// A step's mean cost, in pods, with `handicap` on top of it all; `late` and `change` are what each of them costs.
    fn cost(&self, late: f64, change: f64, handicap: f64) -> f64 {
        (late * self.late + self.pods + change * self.changes + handicap) / (self.weight + PRIOR.0)
    }
}

/// A rule's shadow: the pods it would have, and what they did.
#[derive(Clone, Debug)]
struct Shadow {
    /// What it asked for, newest first.
    asked: [u32; LONGEST + 2],
    /// Requests that wait.
    backlog: f64,
    accounts: [Account; MEMORIES.len()],
}

impl Shadow {
    fn new(initial: u32) -> Self {
        Shadow { asked: [initial; LONGEST + 2], backlog: 0.0, accounts: Default::default() }
    }

    /// Meets a step of `load`; a pod serves once it has been wanted for `lead` steps and the `part` of another.
    fn settle(
        &mut self,
        facts: &Facts,
        load: (f64, f64),
        (lead, part): (usize, f64),
        mut usual: impl FnMut(u32) -> f64,
    ) {
        let after = self.asked[..=lead].iter().copied().min().unwrap_or(0);
        let before = after.min(self.asked[lead + 1]);
        let mut late = 0.0;
        let mut serve = |ready: u32, part: f64| {
            let (held, missed) = meet(facts, self.backlog, load, ready, part, &mut usual);
            (self.backlog, late) = (held, late + missed);
        };
        if before == after {
            serve(after, 1.0);
        } else {
            serve(before, part);
            serve(after, 1.0 - part);
        }
        let changes = self.asked[0].abs_diff(self.asked[1]);
        for (account, memory) in self.accounts.iter_mut().zip(MEMORIES) {
            account.book(memory, late, self.asked[0], changes);
        }
    }

    fn ask(&mut self, pods: u32) {
        self.asked.copy_within(..=LONGEST, 1);
        self.asked[0] = pods;
    }

    /// A step's mean cost, in pods.
    fn cost(&self, late: f64, change: f64, handicap: f64) -> f64 {
        let costs = self.accounts.iter().map(|account| account.cost(late, change, handicap));
        costs.zip(WEIGHTS).map(|(cost, weight)| cost * weight).sum()
    }
}

/// All rules and who leads.
#[derive(Clone, Debug)]
pub(super) struct Council {
    shadows: Vec<Shadow>,
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
    /// What each wants to be able to take now, in saturated pods.
    loads: Vec<f64>,
    /// Scratch: of each number of pods, the share that is late while they meet a step's load for long; NaN where nobody asked.
    usual: Vec<f64>,
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
            shadows: vec![Shadow::new(initial); RULES],
            lead: (lead as usize, lead.fract()),
            own: (0.0, 0.0),
            arrived: 0.0,
            late: 0.0,
            ready: initial,
            compression: COMPRESSIONS[0],
            leader: FIRST,
            elects,
            costs: vec![0.0; RULES],
            loads: vec![0.0; RULES],
            usual: Vec::new(),
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
        // Sixty shadows have few numbers of pods between them.
        self.usual.clear();
        self.usual.resize(facts.takes.len(), f64::NAN);
        for shadow in &mut self.shadows {
            shadow.settle(facts, (load, compression), self.lead, |ready| {
                let known = &mut self.usual[(ready as usize).min(facts.takes.len() - 1)];
                if known.is_nan() {
                    *known = usual(ready);
                }
                *known
            });
        }
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
        for (rule, (cost, shadow)) in self.costs.iter_mut().zip(&self.shadows).enumerate() {
            *cost = shadow.cost(late, change, if rule == FIRST { 0.0 } else { handicap });
        }
        let best = (0..RULES).min_by(|&a, &b| self.costs[a].total_cmp(&self.costs[b])).unwrap_or(FIRST);
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
        for (headroom, factor) in HEADROOMS.iter().enumerate() {
            for (wary, expected) in expected.into_iter().enumerate() {
                let mut known = (f64::NAN, 0.0, 0);
                for (reach, highest) in highest.into_iter().enumerate() {
                    let base = expected.max(highest);
                    // Where more is expected than ever was, all reaches want the same.
                    if base != known.0 {
                        let load = (factor * base + to_drain).max(least);
                        known = (base, load, facts.pods_for(load).clamp(min, max));
                    }
                    let rule = number(reach, headroom, wary);
                    self.loads[rule] = known.1;
                    self.shadows[rule].ask(known.2);
                }
            }
        }
    }

    /// Writes the leading rule, for people.
    pub(super) fn describe(&self, facts: &Facts, to: &mut String) -> fmt::Result {
        let (reach, headroom, wary) = self.leader();
        match (REACHES[reach], wary) {
            (0, 0) => to.write_str("what is expected")?,
            (0, _) => to.write_str("what is expected, and its error")?,
            (steps, _) => write!(to, "what {:.0} s held or is expected", steps as f64 * facts.step_s)?,
        }
        write!(to, " × {}", HEADROOMS[headroom])
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

    /// Reach, headroom and wariness of the leader, by number.
    pub(super) fn leader(&self) -> (usize, usize, usize) {
        (self.leader / 2 / HEADROOMS.len(), self.leader / 2 % HEADROOMS.len(), self.leader % 2)
    }

    /// What the leader costs a step, in pods.
    pub(super) fn cost(&self) -> f64 {
        self.costs[self.leader]
    }

    /// What the best rule of that reach costs, over what the leader does.
    pub(super) fn of_reach(&self, reach: usize) -> f64 {
        self.best_of(|rule| rule / 2 / HEADROOMS.len() == reach)
    }

    /// What the best rule of that headroom costs, over what the leader does.
    pub(super) fn of_headroom(&self, headroom: usize) -> f64 {
        self.best_of(|rule| rule / 2 % HEADROOMS.len() == headroom)
    }

    fn best_of(&self, those: impl Fn(usize) -> bool) -> f64 {
        let costs = (0..RULES).filter(|&rule| those(rule)).map(|rule| self.costs[rule]);
        costs.fold(f64::INFINITY, f64::min) / self.cost().max(1e-9)
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
        assert!(of(1.0) <= 1.02 && of(1.5) > 1.2 && of(0.85) > of(1.0), "{} {} {}", of(1.0), of(1.5), of(0.85));
    }

    #[test]
    fn pods_of_a_shadow_come_within_a_step_too() {
        // Asked for two steps ago, they take one and a half: for half of the step one pod meets three times what it takes.
        let facts = Facts::plain(12);
        let mut shadow = Shadow::new(1);
        shadow.ask(3);
        shadow.ask(3);
        shadow.settle(&facts, (3.0, 1.0), (1, 0.5), |_| 0.0);
        // 1.5 come then and 1 remains; all but the first 0.1 / 1 of them find more than 0.1 waiting. Then as many come as pass,
        // and everybody waits.
        assert!((shadow.accounts[0].late - (1.5 * 0.9 + 1.5)).abs() < 1e-9, "{:?}", shadow.accounts);
        assert!((shadow.backlog - 1.0).abs() < 1e-9);
        // It pays for three pods, which it did not change in this step.
        let account = shadow.accounts[0];
        assert_eq!((account.pods, account.changes, account.weight), (3.0, 0.0, 1.0));
    }

    #[test]
    fn bursts_within_steps_show_in_what_was_late() {
        // Two of four pods would do on average; a fifth of the requests was late all the same.
        let mut facts = Facts::plain(12);
        facts.step_s = 10.0;
        let (mut demand, mut council) = (Demand::new(&facts), Council::new(&facts, 4, true));
        for _ in 0..60 {
            demand.take(Some(2.0));
            demand.late = 0.2;
            council.observe(&facts, &demand, 4, (1, 12));
        }
        // 20 requests, of which 4 late: what came in 1/c of 10 s met 4 a second. With c below 2 nobody is late, and soon
        // beyond it nearly everybody, so it is about that.
        assert!((1.5..2.5).contains(&council.compression()), "{}", council.compression());
        assert!(council.load() > 3.5, "{}", council.load());
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
