//! Closed loop: a fixed number of users, each of whom thinks, sends one request and waits for its answer.

/// The steady state of a closed loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClosedLoop {
    /// Completed requests per unit of time.
    pub throughput: f64,
    /// Mean response time of a request (waiting and service), in the unit of the service demand.
    pub response: f64,
    /// Mean number of requests at the station (waiting and in service).
    pub number: f64,
    /// Fraction of time the station is busy.
    pub utilisation: f64,
}

/// Bounds of a closed loop's throughput, in requests per unit of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThroughputBounds {
    /// Every request waits for all others: `N / (N·D + Z)`.
    pub lower: f64,
    /// Nobody ever waits, up to saturation: `min(1/D, N / (D + Z))`.
    pub upper: f64,
}

fn valid(demand: f64, think: f64) -> bool {
    demand.is_finite() && demand > 0.0 && think.is_finite() && think >= 0.0
}

/// Throughput of a closed loop from its response time, `X = N / (R + Z)`: a law, whatever the system is.
///
/// `users` N, mean `response` R and mean `think` time Z in one unit; the result is in its inverse.
///
/// Source: interactive response time law, Lazowska et al., *Quantitative System Performance* (1984), §3.4.
/// `NAN` unless `R + Z` is positive and finite.
#[must_use]
pub fn closed_loop_throughput(users: u32, response: f64, think: f64) -> f64 {
    let cycle = response + think;
    if !cycle.is_finite() || cycle <= 0.0 || response < 0.0 || think < 0.0 {
        return f64::NAN;
    }
    f64::from(users) / cycle
}

/// Response time of a closed loop from its throughput, `R = N / X − Z`: the same law, solved for `R`.
///
/// Source: as [`closed_loop_throughput`]. `NAN` unless the throughput is positive and finite.
#[must_use]
pub fn closed_loop_response(users: u32, throughput: f64, think: f64) -> f64 {
    if !throughput.is_finite() || throughput <= 0.0 || !think.is_finite() {
        return f64::NAN;
    }
    f64::from(users) / throughput - think
}

/// Asymptotic bounds of the throughput of `users` at one station with mean service `demand` and mean `think` time.
///
/// Source: Lazowska et al., *Quantitative System Performance* (1984), §5.2.
/// Both are `NAN` unless the demand is positive and the think time not negative.
#[must_use]
pub fn closed_loop_bounds(users: u32, demand: f64, think: f64) -> ThroughputBounds {
    if !valid(demand, think) {
        return ThroughputBounds { lower: f64::NAN, upper: f64::NAN };
    }
    let n = f64::from(users);
    ThroughputBounds { lower: n / (n * demand + think), upper: (1.0 / demand).min(n / (demand + think)) }
}

/// Exact mean values of `users` at one first-come-first-served station with exponential service of mean `demand` and
/// think times of mean `think` (of any distribution).
///
/// Mean value analysis: `R(n) = D·(1 + L(n−1))`, `X(n) = n / (R(n) + Z)`, `L(n) = X(n)·R(n)`, `L(0) = 0`.
///
/// Source: Reiser and Lavenberg, *J. ACM* 27 (1980). All fields are `NAN` unless the demand is positive and the think
/// time not negative; without users there is no throughput and the response time is that of a lone request.
#[must_use]
pub fn closed_loop_mva(users: u32, demand: f64, think: f64) -> ClosedLoop {
    if !valid(demand, think) {
        return ClosedLoop { throughput: f64::NAN, response: f64::NAN, number: f64::NAN, utilisation: f64::NAN };
    }
    let mut state = ClosedLoop { throughput: 0.0, response: demand, number: 0.0, utilisation: 0.0 };
    for n in 1..=users {
        let response = demand * (1.0 + state.number);
        let throughput = f64::from(n) / (response + think);
        state = ClosedLoop { throughput, response, number: throughput * response, utilisation: throughput * demand };
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// M/M/1//N, the machine repairman: p(n+1)·μ = p(n)·(N − n)/Z.
    fn repairman(users: u32, demand: f64, think: f64) -> (f64, f64) {
        let mut p = vec![1.0];
        for n in 0..users {
            let last = p[p.len() - 1];
            p.push(last * f64::from(users - n) / think * demand);
        }
        let total: f64 = p.iter().sum();
        let number = p.iter().enumerate().map(|(n, q)| n as f64 * q).sum::<f64>() / total;
        ((1.0 - p[0] / total) / demand, number)
    }

    #[test]
    fn mean_value_analysis_agrees_with_the_machine_repairman() {
        for (users, demand, think) in [(1, 1.0, 1.0), (2, 0.5, 3.0), (20, 0.1, 1.5), (60, 0.02, 1.5)] {
            let (throughput, number) = repairman(users, demand, think);
            let mva = closed_loop_mva(users, demand, think);
            assert!((mva.throughput / throughput - 1.0).abs() < 1e-12);
            assert!((mva.number / number - 1.0).abs() < 1e-10);
        }
    }

    #[test]
    fn hand_computed_values() {
        // Two users, D = Z = 1: R(1) = 1, X(1) = 1/2, L(1) = 1/2, R(2) = 3/2, X(2) = 2/2.5.
        let two = closed_loop_mva(2, 1.0, 1.0);
        assert!((two.response - 1.5).abs() < 1e-15);
        assert!((two.throughput - 0.8).abs() < 1e-15);
        assert_eq!(closed_loop_mva(0, 1.0, 1.0).throughput, 0.0);
        assert!(closed_loop_mva(3, 0.0, 1.0).throughput.is_nan());
        assert!(closed_loop_bounds(3, 1.0, -1.0).upper.is_nan());
        assert!(closed_loop_throughput(3, 0.0, 0.0).is_nan());
        assert!(closed_loop_response(3, 0.0, 1.0).is_nan());
    }

    proptest! {
        #[test]
        fn the_bounds_enclose_and_the_law_closes(users in 1..300_u32, demand in 1e-3..1.0_f64, think in 0.0..10.0_f64) {
            let mva = closed_loop_mva(users, demand, think);
            let bounds = closed_loop_bounds(users, demand, think);
            prop_assert!(bounds.lower <= mva.throughput * (1.0 + 1e-12));
            prop_assert!(mva.throughput <= bounds.upper * (1.0 + 1e-12));
            let x = closed_loop_throughput(users, mva.response, think);
            prop_assert!((x / mva.throughput - 1.0).abs() < 1e-12);
            let r = closed_loop_response(users, mva.throughput, think);
            prop_assert!((r - mva.response).abs() < 1e-9 * (mva.response + think));
            prop_assert!(crate::theory::littles_law_gap(mva.throughput, mva.response, mva.number) < 1e-12);
        }
    }
}
