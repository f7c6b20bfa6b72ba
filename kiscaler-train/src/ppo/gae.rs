//! Generalised advantage estimation (Schulman et al. 2016, eq. 16), with episodes that end inside a rollout.

use crate::environment::End;

/// One rollout as the estimate sees it. Rows stand by time, then by environment.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    /// Environments that step together.
    pub environments: usize,
    /// Reward of each row.
    pub rewards: &'a [f32],
    /// Value of each row's observation.
    pub values: &'a [f32],
    /// Whether the row ends its episode.
    pub ends: &'a [Option<End>],
    /// Value of the observation that a truncated row led to, the last one of its episode; ignored elsewhere.
    pub finals: &'a [f32],
    /// Value of the observation after the last row of each environment.
    pub after: &'a [f32],
}

/// Writes the advantages, shape [rows].
///
/// δ = r + γ v′ − v and A = δ + γλ A′. At an end A′ is 0. v′ is 0 where the episode terminated, and where it was
/// truncated the value of its own final observation, not of the one that the next episode starts with (Pardo et al.,
/// ICML 2018).
pub fn advantages(steps: Steps<'_>, gamma: f64, lambda: f64, out: &mut [f32]) {
    let (gamma, lambda, n) = (gamma as f32, lambda as f32, steps.environments);
    for environment in 0..n {
        let (mut value_after, mut advantage) = (steps.after[environment], 0.0);
        for row in (environment..steps.rewards.len()).step_by(n).rev() {
            let (next, carried) = match steps.ends[row] {
                None => (value_after, advantage),
                Some(End::Terminated) => (0.0, 0.0),
                Some(End::Truncated) => (steps.finals[row], 0.0),
            };
            value_after = steps.values[row];
            advantage = steps.rewards[row] + gamma * next - value_after + gamma * lambda * carried;
            out[row] = advantage;
        }
    }
}

/// Subtracts from each advantage the mean of its group at the same time: environments with the same arrivals that are
/// at the same step of the same episode. What traffic alone did then cancels (Mao et al., ICLR 2019).
///
/// `clocks` says of each row which (episode, step) it is. A row that is alone in its group stays as it is.
pub fn subtract_group_means(advantages: &mut [f32], clocks: &[(u64, u32)], group: usize) {
    if group < 2 {
        return;
    }
    let mut centred = vec![0.0f32; group];
    for (members, clocks) in advantages.chunks_mut(group).zip(clocks.chunks(group)) {
        for (slot, (&own, &clock)) in centred.iter_mut().zip(members.iter().zip(clocks)) {
            let mut sum = 0.0;
            let mut count = 0u32;
            for (&advantage, &other) in members.iter().zip(clocks) {
                if other == clock {
                    sum += advantage;
                    count += 1;
                }
            }
            *slot = if count > 1 { own - sum / count as f32 } else { own };
        }
        members.copy_from_slice(&centred[..members.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Two environments, four steps, gamma 0.5, lambda 0.5, so gamma lambda = 0.25.
        let (t, c) = (Some(End::Terminated), Some(End::Truncated));
        let steps = Steps {
            environments: 2,
            // Environment 0 terminates at step 1, environment 1 is truncated at step 2.
            rewards: &[1.0, 1.0, 2.0, 1.0, 3.0, 1.0, 4.0, 1.0],
            values: &[0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0],
            ends: &[None, None, t, None, None, c, None, None],
            finals: &[0.0, 0.0, 9.0, 0.0, 0.0, 8.0, 0.0, 0.0],
            after: &[6.0, 2.0],
        };
        let mut found = [0.0; 8];
        advantages(steps, 0.5, 0.5, &mut found);
        // Environment 0, from behind:
        // 4 + 0.5*6 - 3.5 = 3.5; 3 + 0.5*3.5 - 2.5 + 0.25*3.5 = 3.125; 2 - 1.5 = 0.5; 1 + 0.75 - 0.5 + 0.125 = 1.375.
        // Environment 1: 1 + 0.5*2 - 4 = -2; 1 + 0.5*8 - 3 = 2; 1 + 0.5*3 - 2 + 0.25*2 = 1; 1 + 1 - 1 + 0.25 = 1.25.
        assert_eq!(found, [1.375, 1.25, 0.5, 1.0, 3.125, 2.0, 3.5, -2.0]);
    }

    #[test]
    fn lambda_one_is_the_return_and_lambda_zero_the_temporal_difference() {
        let steps = Steps {
            environments: 1,
            rewards: &[1.0, 2.0, 3.0],
            values: &[0.3, 0.2, 0.1],
            ends: &[None; 3],
            finals: &[0.0; 3],
            after: &[10.0],
        };
        let mut found = [0.0; 3];
        advantages(steps, 0.9, 1.0, &mut found);
        let whole = 1.0 + 0.9 * 2.0 + 0.81 * 3.0 + 0.729 * 10.0 - 0.3;
        assert!((found[0] - whole).abs() < 1e-5);
        advantages(steps, 0.9, 0.0, &mut found);
        assert!((found[0] - (1.0 + 0.9 * 0.2 - 0.3)).abs() < 1e-6);
    }

    #[test]
    fn group_means_only_between_rows_of_one_time() {
        // Groups of two: the first in step, the second apart, since one of them ended early.
        let mut values = [1.0, 3.0, 5.0, 7.0];
        subtract_group_means(&mut values, &[(0, 4), (0, 4), (1, 0), (0, 4)], 2);
        assert_eq!(values, [-1.0, 1.0, 5.0, 7.0]);
        let mut values = [1.0, 2.0];
        subtract_group_means(&mut values, &[(0, 0), (0, 0)], 1);
        assert_eq!(values, [1.0, 2.0]);
    }
}
