//! The two networks as one vector of parameters: the actor's, then the critic's.

use rand_distr::{Distribution, StandardNormal};

use crate::environment::Space;
use crate::network::{Mlp, ShapeError, parameters};
use kisim::random::{Purpose, Stream, stream};

/// Sizes of the networks, and where their parameters stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Inputs, hidden layers, outputs of the network that chooses: observation to logits.
    pub actor: Vec<usize>,
    /// Of the one that values: observation and privileged numbers to one value.
    pub critic: Vec<usize>,
}

impl Model {
    /// For environments of `space`.
    pub fn new(space: &Space, actor_hidden: &[usize], critic_hidden: &[usize]) -> Self {
        let sizes = |inputs: usize, hidden: &[usize], outputs: usize| {
            let mut sizes = vec![inputs];
            sizes.extend_from_slice(hidden);
            sizes.push(outputs);
            sizes
        };
        Model {
            actor: sizes(space.observation, actor_hidden, space.choices()),
            critic: sizes(space.observation + space.privileged, critic_hidden, 1),
        }
    }

    /// Parameters of the actor: where those of the critic begin.
    pub fn split(&self) -> usize {
        parameters(&self.actor)
    }

    /// Parameters of both.
    pub fn parameters(&self) -> usize {
        self.split() + parameters(&self.critic)
    }

    /// Orthogonal weights, √2 times in hidden layers, 0.01 times for the policy and once for the value; biases 0
    /// (Huang et al. 2022, detail 2).
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut flat = Vec::with_capacity(self.parameters());
        let mut layer = 0;
        for (sizes, last_gain) in [(&self.actor, 0.01), (&self.critic, 1.0)] {
            for (index, pair) in sizes.windows(2).enumerate() {
                let gain = if index + 2 == sizes.len() { last_gain } else { std::f64::consts::SQRT_2 };
                let mut random = stream(seed, Purpose::Policy, layer);
                let weight = orthogonal(pair[1], pair[0], &mut random);
                flat.extend(weight.iter().map(|&value| (value * gain) as f32));
                flat.extend(std::iter::repeat_n(0.0, pair[1]));
                layer += 1;
            }
        }
        flat
    }

    /// Where the biases of the policy's last layer stand.
    pub fn last_bias(&self) -> std::ops::Range<usize> {
        self.split() - self.actor[self.actor.len() - 1]..self.split()
    }

    /// The actor as a network that decides.
    pub fn actor(&self, flat: &[f32]) -> Result<Mlp, ShapeError> {
        Mlp::from_flat(&self.actor, &flat[..self.split()])
    }

    /// The critic as a network.
    pub fn critic(&self, flat: &[f32]) -> Result<Mlp, ShapeError> {
        Mlp::from_flat(&self.critic, &flat[self.split()..])
    }

    /// The tensor that a parameter belongs to, by name.
    pub fn tensor(&self, parameter: usize) -> String {
        let mut start = 0;
        for (network, sizes) in [("actor", &self.actor), ("critic", &self.critic)] {
            for (index, pair) in sizes.windows(2).enumerate() {
                for (name, count) in [("weight", pair[0] * pair[1]), ("bias", pair[1])] {
                    start += count;
                    if parameter < start {
                        return format!("{network}.layers.{index}.{name}");
                    }
                }
            }
        }
        format!("parameter {parameter}")
    }
}

/// A matrix [rows, columns] whose rows, or whose columns if there are more rows, are orthonormal: Gram–Schmidt of
/// normal draws, as Saxe et al. 2014 propose.
fn orthogonal(rows: usize, columns: usize, random: &mut Stream) -> Vec<f64> {
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut vector: Vec<f64> = (0..length).map(|_| StandardNormal.sample(random)).collect();
        // Twice, since once leaves what rounding put back.
        for _ in 0..2 {
            for other in &vectors {
                let dot: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                vector.iter_mut().zip(other).for_each(|(a, b)| *a -= dot * b);
            }
        }
        let norm = vector.iter().map(|a| a * a).sum::<f64>().sqrt();
        if norm > 1e-6 {
            vector.iter_mut().for_each(|a| *a /= norm);
            vectors.push(vector);
        }
    }
    let at = |row: usize, column: usize| if rows <= columns { vectors[row][column] } else { vectors[column][row] };
    (0..rows * columns).map(|index| at(index / columns, index % columns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_or_columns_are_orthonormal() {
        for (rows, columns) in [(3, 7), (7, 3), (5, 5), (1, 4)] {
            let matrix = orthogonal(rows, columns, &mut stream(3, Purpose::Policy, 0));
            let at = |i: usize, j: usize| {
                if rows <= columns {
                    (0..columns).map(|k| matrix[i * columns + k] * matrix[j * columns + k]).sum::<f64>()
                } else {
                    (0..rows).map(|k| matrix[k * columns + i] * matrix[k * columns + j]).sum::<f64>()
                }
            };
            for i in 0..rows.min(columns) {
                for j in 0..rows.min(columns) {
                    let expected = f64::from(u8::from(i == j));
                    assert!((at(i, j) - expected).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn tensors_are_named_in_order() {
        let space = Space { observation: 4, privileged: 1, heads: vec![2, 3], teacher: false };
        let model = Model::new(&space, &[8], &[6, 7]);
        assert_eq!((model.actor.as_slice(), model.critic.as_slice()), (&[4, 8, 5][..], &[5, 6, 7, 1][..]));
        assert_eq!(model.tensor(0), "actor.layers.0.weight");
        assert_eq!(model.tensor(32), "actor.layers.0.bias");
        assert_eq!(model.tensor(model.split() - 1), "actor.layers.1.bias");
        assert_eq!(model.tensor(model.split()), "critic.layers.0.weight");
        assert_eq!(model.tensor(model.parameters() - 1), "critic.layers.2.bias");
        let initial = model.initial(1);
        assert_eq!(initial.len(), model.parameters());
        assert_ne!(initial, model.initial(2));
        // The policy starts out almost uniform.
        assert!(initial[40..40 + 40].iter().all(|weight| weight.abs() <= 0.01));
    }
}
