//! Queues without batching: M/M/c, M/G/1, finite buffers, and Little's law.

/// A finite number that is not negative.
fn valid(x: f64) -> bool {
    x.is_finite() && x >= 0.0
}

/// Erlang B: the probability that a request finds all servers busy and is lost, M/M/c/c.
///
/// `B(0) = 1`, `B(k) = a·B(k−1) / (k + a·B(k−1))` with `a = offered` load in erlangs (arrival rate times mean
/// service time). The recursion adds positive numbers only, so it neither overflows nor cancels: it is exact to a
/// few units in the last place for thousands of servers. By insensitivity it holds for any service time with that
/// mean.
///
/// Source: Erlang 1917; recursion as in Kleinrock, *Queueing Systems* I (1975), §3.6.
/// Returns `NAN` for a negative or non-finite load.
#[must_use]
pub fn erlang_b(servers: u32, offered: f64) -> f64 {
    mmck_recursion(servers, servers, offered)
}

/// Erlang C: the probability that a request has to wait, M/M/c with an infinite buffer.
///
/// `C = B / (1 − ρ·(1 − B))` with Erlang's `B` and `ρ = offered / servers`; the load is in erlangs. One at and
/// above saturation, where every request waits.
///
/// Source: Erlang 1917; Kleinrock, *Queueing Systems* I (1975), eq. 3.40.
/// Returns `NAN` without servers or for a negative or non-finite load.
#[must_use]
pub fn erlang_c(servers: u32, offered: f64) -> f64 {
    if servers == 0 || !valid(offered) {
        return f64::NAN;
    }
    let utilisation = offered / f64::from(servers);
    if utilisation >= 1.0 {
        return 1.0;
    }
    let b = erlang_b(servers, offered);
    b / (1.0 - utilisation * (1.0 - b))
}

/// Mean time in the queue (without service) of M/M/c, in the unit of `1/service_rate`.
///
/// `W = C(c, λ/μ) / (c·μ − λ)`; `INFINITY` when `λ ≥ c·μ`.
///
/// Source: Kleinrock, *Queueing Systems* I (1975), §3.5.
/// Returns `NAN` for arguments outside the domain (`service_rate` must be positive).
#[must_use]
pub fn mmc_mean_wait(arrival_rate: f64, service_rate: f64, servers: u32) -> f64 {
    if servers == 0 || !valid(arrival_rate) || !valid(service_rate) || service_rate == 0.0 {
        return f64::NAN;
    }
    let spare = f64::from(servers) * service_rate - arrival_rate;
    if spare <= 0.0 {
        return f64::INFINITY;
    }
    erlang_c(servers, arrival_rate / service_rate) / spare
}

/// Probability that a request of M/M/c (first come, first served) waits longer than `time`.
///
/// `P(W > t) = C(c, λ/μ) · exp(−(c·μ − λ)·t)`; one when `λ ≥ c·μ`.
///
/// Source: Kleinrock, *Queueing Systems* I (1975), §3.5 and §5.
/// Returns `NAN` for arguments outside the domain.
#[must_use]
pub fn mmc_wait_tail(arrival_rate: f64, service_rate: f64, servers: u32, time: f64) -> f64 {
    if servers == 0 || !valid(arrival_rate) || !valid(service_rate) || service_rate == 0.0 || !valid(time) {
        return f64::NAN;
    }
    let spare = f64::from(servers) * service_rate - arrival_rate;
    if spare <= 0.0 {
        return 1.0;
    }
    erlang_c(servers, arrival_rate / service_rate) * (-spare * time).exp()
}

/// Mean time in the queue of M/G/1, in the unit of `mean_service` (Pollaczek–Khinchine).
///
/// `W = ρ·S·(1 + cv²) / (2·(1 − ρ))` with mean service time `S`, `ρ = λ·S` and the coefficient of variation `cv`
/// of the service time; `INFINITY` when `ρ ≥ 1`.
///
/// Source: Pollaczek 1930, Khinchine 1932; Kleinrock, *Queueing Systems* I (1975), eq. 5.70.
/// Returns `NAN` for arguments outside the domain.
#[must_use]
pub fn mg1_mean_wait(arrival_rate: f64, mean_service: f64, service_cv: f64) -> f64 {
    if !valid(arrival_rate) || !valid(mean_service) || !valid(service_cv) {
        return f64::NAN;
    }
    let utilisation = arrival_rate * mean_service;
    if utilisation >= 1.0 {
        return f64::INFINITY;
    }
    utilisation * mean_service * (1.0 + service_cv * service_cv) / (2.0 * (1.0 - utilisation))
}

/// Mean time in the queue of M/D/1 (constant service), in the unit of `service`: half of M/M/1.
///
/// `W = ρ·S / (2·(1 − ρ))`, which is [`mg1_mean_wait`] with `cv = 0`.
///
/// Source: as [`mg1_mean_wait`]. Returns `NAN` for arguments outside the domain.
#[must_use]
pub fn md1_mean_wait(arrival_rate: f64, service: f64) -> f64 {
    mg1_mean_wait(arrival_rate, service, 0.0)
}

/// Probability that a request is lost in M/M/1/K, where `capacity = K` counts the request in service.
///
/// `P = (1 − ρ)·ρ^K / (1 − ρ^(K+1))`, and `1/(K+1)` at `ρ = 1`; `ρ = offered` load in erlangs, any value. Written
/// with `expm1` so that it is smooth through `ρ = 1` and does not overflow above it.
///
/// Source: Kleinrock, *Queueing Systems* I (1975), §3.6. Returns `NAN` for a negative or non-finite load.
#[must_use]
pub fn mm1k_loss(offered: f64, capacity: u32) -> f64 {
    if !valid(offered) {
        return f64::NAN;
    }
    let k = f64::from(capacity);
    if offered == 0.0 {
        return if capacity == 0 { 1.0 } else { 0.0 };
    }
    let log = offered.ln();
    if log == 0.0 {
        1.0 / (k + 1.0)
    } else if log < 0.0 {
        (k * log).exp() * log.exp_m1() / ((k + 1.0) * log).exp_m1()
    } else {
        (-log).exp_m1() / (-(k + 1.0) * log).exp_m1()
    }
}

/// Probability that a request is lost in M/M/c/K, where `capacity = K` counts those in service.
///
/// The stationary birth–death distribution, by the recursion in K that gives Erlang B for `K = c`:
/// `P(k) = r·P(k−1) / (1 + r·P(k−1))`, `r = a / min(k, c)`, `P(0) = 1`, with `a = offered` load in erlangs, any value.
/// A capacity below the number of servers leaves the surplus servers idle.
///
/// Source: Kleinrock, *Queueing Systems* I (1975), §3.6. Returns `NAN` without servers (but with a buffer) or for a
/// negative or non-finite load.
#[must_use]
pub fn mmck_loss(servers: u32, capacity: u32, offered: f64) -> f64 {
    if servers == 0 && capacity > 0 {
        return f64::NAN;
    }
    mmck_recursion(servers, capacity, offered)
}

fn mmck_recursion(servers: u32, capacity: u32, offered: f64) -> f64 {
    if !valid(offered) {
        return f64::NAN;
    }
    (1..=capacity).fold(1.0, |loss, k| {
        let flow = offered / f64::from(k.min(servers)) * loss;
        flow / (1.0 + flow)
    })
}

/// How far three measured means are from Little's law `L = X·T`, as a fraction of the larger side.
///
/// `throughput` X (completions per unit of time), `mean_time` T in the system, `mean_number` L in the system,
/// measured over the same window. Zero means agreement; a finite window leaves a gap of the order of
/// `L / (X · window)` from the requests cut by its ends.
///
/// Source: Little, *Operations Research* 9 (1961). Returns `NAN` for negative or non-finite arguments.
#[must_use]
pub fn littles_law_gap(throughput: f64, mean_time: f64, mean_number: f64) -> f64 {
    if !valid(throughput) || !valid(mean_time) || !valid(mean_number) {
        return f64::NAN;
    }
    let product = throughput * mean_time;
    let larger = product.max(mean_number);
    if larger == 0.0 {
        return 0.0;
    }
    (product - mean_number).abs() / larger
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, relative: f64) {
        assert!(
            (found - expected).abs() <= relative * expected.abs().max(1e-300),
            "found {found}, expected {expected}"
        );
    }

    #[test]
    fn erlang_b_agrees_with_the_published_tables() {
        // Erlang B tables (for instance ITU-D, Handbook on Teletraffic Engineering): offered load for a given loss.
        for (servers, offered, loss) in
            [(1, 0.0101, 0.01), (10, 4.461, 0.01), (10, 5.084, 0.02), (30, 21.93, 0.02), (100, 84.06, 0.01)]
        {
            close(erlang_b(servers, offered), loss, 2e-3);
        }
    }

    #[test]
    fn erlang_c_agrees_with_hand_computed_values() {
        close(erlang_c(1, 0.8), 0.8, 1e-14);
        close(erlang_c(2, 1.0), 1.0 / 3.0, 1e-14);
        close(erlang_c(3, 2.0), 4.0 / 9.0, 1e-14);
        close(erlang_c(10, 8.0), 0.409_180_22, 1e-6);
    }

    #[test]
    fn erlang_c_agrees_with_the_factorial_sum() {
        for servers in 1..=20_u32 {
            for step in 1..20 {
                let offered = f64::from(servers) * f64::from(step) / 20.0;
                let mut term = 1.0;
                let mut sum = 0.0;
                for k in 0..servers {
                    sum += term;
                    term *= offered / f64::from(k + 1);
                }
                let last = term / (1.0 - offered / f64::from(servers));
                close(erlang_c(servers, offered), last / (sum + last), 1e-12);
            }
        }
    }

    #[test]
    fn a_thousand_servers_stay_finite_and_ordered() {
        let mut before = 0.0;
        for offered in [100.0, 500.0, 900.0, 950.0, 990.0, 999.0, 999.999] {
            let c = erlang_c(1000, offered);
            assert!(c.is_finite() && c >= before && c <= 1.0, "{offered}: {c}");
            before = c;
        }
        // Halfin and Whitt 1981: with a staffing of a + β·√a the waiting probability tends to
        // 1/(1 + β·Φ(β)/φ(β)) = 0.2234 for β = 1.
        let offered = 969.0;
        let beta = (1000.0 - offered) / f64::sqrt(1000.0);
        assert!((beta - 0.98).abs() < 0.01);
        let c = erlang_c(1000, offered);
        assert!((0.2..0.25).contains(&c), "{c}");
    }

    #[test]
    fn waits_of_one_server() {
        close(mmc_mean_wait(0.5, 1.0, 1), 1.0, 1e-14);
        close(mg1_mean_wait(0.5, 1.0, 1.0), 1.0, 1e-14);
        close(md1_mean_wait(0.5, 1.0), 0.5, 1e-14);
        // (1 + cv²)/2 = 2 at cv² = 3: twice the wait of M/M/1, which is 9 at ρ = 0.9.
        close(mg1_mean_wait(0.9, 1.0, f64::sqrt(3.0)), 18.0, 1e-12);
        // M/M/2, a = 1: C = 1/3, W = (1/3)/(2 − 1).
        close(mmc_mean_wait(1.0, 1.0, 2), 1.0 / 3.0, 1e-14);
    }

    #[test]
    fn saturation_is_infinite_and_nonsense_is_not_a_number() {
        assert!(mmc_mean_wait(2.0, 1.0, 2).is_infinite());
        assert!(md1_mean_wait(1.0, 1.0).is_infinite());
        assert!(mmc_mean_wait(-1.0, 1.0, 2).is_nan());
        assert!(mmc_mean_wait(1.0, 0.0, 2).is_nan());
        assert!(erlang_c(0, 1.0).is_nan());
        assert!(mg1_mean_wait(1.0, f64::NAN, 0.0).is_nan());
        assert!(mmck_loss(0, 3, 1.0).is_nan());
    }

    #[test]
    fn the_tail_integrates_to_the_mean() {
        let (lambda, mu, servers) = (3.2, 1.0, 4);
        let step = 1e-3;
        let integral: f64 =
            (0..40_000).map(|i| mmc_wait_tail(lambda, mu, servers, (f64::from(i) + 0.5) * step) * step).sum();
        close(integral, mmc_mean_wait(lambda, mu, servers), 1e-4);
    }

    /// Stationary distribution of the birth–death chain: flows balance across each cut, so
    /// p(n+1) = p(n)·λ/(min(n+1, c)·μ).
    fn stationary(servers: u32, capacity: u32, offered: f64) -> Vec<f64> {
        let mut p = vec![1.0];
        for n in 1..=capacity {
            let last = p[p.len() - 1];
            p.push(last * offered / f64::from(n.min(servers)));
        }
        let total: f64 = p.iter().sum();
        p.iter().map(|x| x / total).collect()
    }

    #[test]
    fn finite_buffers_agree_with_the_markov_chain() {
        for servers in [1, 2, 5, 16] {
            for capacity in [1, 2, 7, 40] {
                for offered in [0.1, 0.9, 1.0, 1.1, 4.0, 30.0] {
                    let p = stationary(servers, capacity, offered);
                    close(mmck_loss(servers, capacity, offered), p[p.len() - 1], 1e-12);
                    if servers == 1 {
                        close(mm1k_loss(offered, capacity), p[p.len() - 1], 1e-10);
                    }
                }
            }
        }
    }

    #[test]
    fn one_server_with_a_buffer_is_smooth_through_saturation_and_far_above() {
        close(mm1k_loss(1.0, 4), 0.2, 1e-14);
        close(mm1k_loss(1.0 + 1e-9, 4), 0.2, 1e-8);
        close(mm1k_loss(1.0 - 1e-9, 4), 0.2, 1e-8);
        close(mm1k_loss(50.0, 100_000), 0.98, 1e-12);
        assert_eq!(mm1k_loss(0.0, 0), 1.0);
        assert_eq!(mm1k_loss(0.0, 3), 0.0);
    }

    #[test]
    fn littles_law() {
        assert_eq!(littles_law_gap(10.0, 0.5, 5.0), 0.0);
        close(littles_law_gap(10.0, 0.5, 4.0), 0.2, 1e-14);
        assert_eq!(littles_law_gap(0.0, 0.0, 0.0), 0.0);
        assert!(littles_law_gap(-1.0, 1.0, 1.0).is_nan());
    }
}
