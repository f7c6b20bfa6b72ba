//! A multilayer perceptron that decides for one observation at a time: tanh between the layers, linear at the end.
//!
//! Plain `f32` multiplications and additions in a fixed order and no fused ones, so that a policy gives the same bytes
//! on every machine. Sixteen outputs at a time, each the sum over its inputs in order: a compiler turns that into vectors of
//! any width without changing the result.

use std::mem;

/// One linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Numbers that come in.
    pub inputs: usize,
    /// Numbers that go out.
    pub outputs: usize,
    /// Shape [outputs, inputs], row after row.
    pub weight: Vec<f32>,
    /// Shape `[outputs]`.
    pub bias: Vec<f32>,
}

/// Layers, each but the last followed by [`tanh`].
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    layers: Vec<Layer>,
    /// Of each layer its weights as [`apply`] reads them.
    blocks: Vec<Vec<[f32; LANES]>>,
}

/// Outputs that are computed together.
const LANES: usize = 16;

/// Buffers of [`Mlp::forward`], so that a decision allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    here: Vec<f32>,
    next: Vec<f32>,
}

/// Why numbers are no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// No layer at all, or a layer without inputs or outputs.
    #[error("a network of sizes {0:?} has no numbers to work on")]
    Empty(Vec<usize>),
    /// A tensor of another length.
    #[error("{tensor}: found {found} numbers, expected {expected}")]
    Length {
        /// Its name.
        tensor: String,
        /// Its length.
        found: usize,
        /// What the sizes ask for.
        expected: usize,
    },
    /// A layer that takes something else than what the one before gives.
    #[error("layer {layer} takes {found} numbers, but {expected} come in")]
    Chain {
        /// Its index.
        layer: usize,
        /// What it takes.
        found: usize,
        /// What the layer before gives.
        expected: usize,
    },
}

/// Parameters of a network of `sizes`: inputs, hidden layers, outputs.
pub fn parameters(sizes: &[usize]) -> usize {
    sizes.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum()
}

impl Mlp {
    /// A network of these layers.
    pub fn new(layers: Vec<Layer>) -> Result<Self, ShapeError> {
        let mut sizes: Vec<usize> = layers.first().map(|first| first.inputs).into_iter().collect();
        sizes.extend(layers.iter().map(|layer| layer.outputs));
        if layers.is_empty() || sizes.contains(&0) {
            return Err(ShapeError::Empty(sizes));
        }
        for (index, layer) in layers.iter().enumerate() {
            if layer.inputs != sizes[index] {
                return Err(ShapeError::Chain { layer: index, found: layer.inputs, expected: sizes[index] });
            }
            let length = |name: &str, found: usize, expected: usize| match found == expected {
                true => Ok(()),
                false => Err(ShapeError::Length { tensor: format!("layers.{index}.{name}"), found, expected }),
            };
            length("weight", layer.weight.len(), layer.inputs * layer.outputs)?;
            length("bias", layer.bias.len(), layer.outputs)?;
        }
        let blocks = layers.iter().map(Layer::blocks).collect();
        Ok(Mlp { layers, blocks })
    }

    /// A network whose parameters stand one after the other: of each layer its weight [outputs, inputs], then its bias.
    pub fn from_flat(sizes: &[usize], flat: &[f32]) -> Result<Self, ShapeError> {
        let expected = parameters(sizes);
        if flat.len() != expected {
            return Err(ShapeError::Length { tensor: "parameters".to_owned(), found: flat.len(), expected });
        }
        let mut rest = flat;
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at(count);
            rest = tail;
            head.to_vec()
        };
        let layers = sizes
            .windows(2)
            .map(|pair| {
                let (inputs, outputs) = (pair[0], pair[1]);
                Layer { inputs, outputs, weight: take(inputs * outputs), bias: take(outputs) }
            })
            .collect();
        Mlp::new(layers)
    }

    /// Takes no notice of an input any more: its weights become 0.
    pub fn ignore(&mut self, input: usize) {
        let Some(first) = self.layers.first_mut() else { return };
        first.weight.chunks_exact_mut(first.inputs).for_each(|row| row[input] = 0.0);
        self.blocks[0] = first.blocks();
    }

    /// All parameters in the order of [`Mlp::from_flat`].
    pub fn to_flat(&self) -> Vec<f32> {
        self.layers.iter().flat_map(|layer| layer.weight.iter().chain(&layer.bias)).copied().collect()
    }

    /// Its layers, the first one first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Inputs, hidden layers, outputs.
    pub fn sizes(&self) -> Vec<usize> {
        std::iter::once(self.inputs()).chain(self.layers.iter().map(|layer| layer.outputs)).collect()
    }

    /// Length of an input.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.inputs)
    }

    /// Length of an output.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.outputs)
    }

    /// Writes what the network says to `input` `[inputs]` into `output` `[outputs]`.
    pub fn forward(&self, input: &[f32], scratch: &mut Scratch, output: &mut [f32]) {
        let mut layers = self.layers.iter().zip(&self.blocks);
        let Some((last, blocks)) = layers.next_back() else { return };
        scratch.here.clear();
        scratch.here.extend_from_slice(input);
        for (layer, blocks) in layers {
            scratch.next.resize(layer.outputs, 0.0);
            apply(blocks, &layer.bias, &scratch.here, &mut scratch.next);
            scratch.next.iter_mut().for_each(|value| *value = tanh(*value));
            mem::swap(&mut scratch.here, &mut scratch.next);
        }
        apply(blocks, &last.bias, &scratch.here, output);
    }
}

impl Layer {
    /// Its weights by [`LANES`] outputs, and of those by input; outputs beyond the last have none.
    fn blocks(&self) -> Vec<[f32; LANES]> {
        let firsts = (0..self.outputs).step_by(LANES);
        let weight =
            |output: usize, input: usize| self.weight.get(output * self.inputs + input).copied().unwrap_or(0.0);
        let block = |first: usize, input: usize| std::array::from_fn(|lane| weight(first + lane, input));
        firsts.flat_map(|first| (0..self.inputs).map(move |input| block(first, input))).collect()
    }
}

/// Writes a layer's `output`, given its weights in `blocks`, its `bias` and its `input`.
fn apply(blocks: &[[f32; LANES]], bias: &[f32], input: &[f32], output: &mut [f32]) {
    let parts = output.chunks_mut(LANES).zip(bias.chunks(LANES));
    for (block, (output, bias)) in blocks.chunks_exact(input.len()).zip(parts) {
        let mut sums = [0.0f32; LANES];
        for (weights, input) in block.iter().zip(input) {
            for lane in 0..LANES {
                sums[lane] += weights[lane] * input;
            }
        }
        for ((out, sum), bias) in output.iter_mut().zip(sums).zip(bias) {
            *out = sum + bias;
        }
    }
}

/// Beyond this, the tangent is 1 in `f32`.
pub(crate) const TANH_LIMIT: f32 = 7.905_311;
/// Odd powers of the numerator, the highest first, and even powers of the denominator.
pub(crate) const TANH_NUMERATOR: [f32; 7] =
    [-2.760_768_4e-16, 2.000_188e-13, -8.604_672e-11, 5.122_297_3e-8, 1.485_722_35e-5, 6.372_619_5e-4, 4.893_524_6e-3];
pub(crate) const TANH_DENOMINATOR: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_7e-3, 4.893_525e-3];

/// The hyperbolic tangent, as a quotient of polynomials (the coefficients of Eigen's `ptanh_float`): within 5e-7 of the
/// exact one, and without a call, so that a loop over it becomes vector instructions.
#[inline]
pub fn tanh(x: f32) -> f32 {
    let x = x.clamp(-TANH_LIMIT, TANH_LIMIT);
    let square = x * x;
    let [first, rest @ ..] = TANH_NUMERATOR;
    let numerator = x * rest.iter().fold(first, |sum, coefficient| sum * square + coefficient);
    let [first, rest @ ..] = TANH_DENOMINATOR;
    numerator / rest.iter().fold(first, |sum, coefficient| sum * square + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_the_hyperbolic_tangent() {
        let mut worst = 0.0f64;
        for step in -200_000..=200_000 {
            let x = step as f32 * 5e-5;
            worst = worst.max((f64::from(tanh(x)) - f64::from(x).tanh()).abs());
        }
        assert!(worst < 5e-7, "{worst}");
        assert_eq!(tanh(0.0), 0.0);
        assert!(tanh(f32::NAN).is_nan());
        assert!((tanh(f32::INFINITY) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_small_network_by_hand() {
        // 2 inputs, 1 hidden, 1 output: 3 * tanh(0.5 a - 1 b + 0.25) - 1.
        let network = Mlp::from_flat(&[2, 1, 1], &[0.5, -1.0, 0.25, 3.0, -1.0]).unwrap();
        let mut output = [0.0];
        network.forward(&[2.0, 0.5], &mut Scratch::default(), &mut output);
        let expected = 3.0 * 0.75f64.tanh() - 1.0;
        assert!((f64::from(output[0]) - expected).abs() < 1e-6);
        assert_eq!(network.sizes(), [2, 1, 1]);
        assert_eq!(network.to_flat(), [0.5, -1.0, 0.25, 3.0, -1.0]);
    }

    #[test]
    fn agrees_with_double_precision() {
        let sizes = [37, 50, 21, 5];
        let count = parameters(&sizes);
        let flat: Vec<f32> = (0..count).map(|i| ((i as f32 * 0.7).sin()) * 0.3).collect();
        let input: Vec<f32> = (0..37).map(|i| (i as f32).cos()).collect();
        let network = Mlp::from_flat(&sizes, &flat).unwrap();
        let mut output = [0.0; 5];
        network.forward(&input, &mut Scratch::default(), &mut output);

        let mut here: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
        for (index, layer) in network.layers().iter().enumerate() {
            here = (0..layer.outputs)
                .map(|o| {
                    let row = &layer.weight[o * layer.inputs..][..layer.inputs];
                    let sum: f64 = row.iter().zip(&here).map(|(w, x)| f64::from(*w) * x).sum();
                    let sum = sum + f64::from(layer.bias[o]);
                    if index + 1 < network.layers().len() { sum.tanh() } else { sum }
                })
                .collect();
        }
        for (found, expected) in output.iter().zip(&here) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn wrong_shapes_are_named() {
        let error = Mlp::from_flat(&[2, 2], &[0.0; 5]).unwrap_err();
        assert_eq!(error.to_string(), "parameters: found 5 numbers, expected 6");
        assert!(matches!(Mlp::from_flat(&[2], &[]).unwrap_err(), ShapeError::Empty(_)));
        let layer = |inputs: usize, outputs: usize| Layer {
            inputs,
            outputs,
            weight: vec![0.0; inputs * outputs],
            bias: vec![0.0; outputs],
        };
        let error = Mlp::new(vec![layer(2, 3), layer(4, 1)]).unwrap_err();
        assert_eq!(error.to_string(), "layer 1 takes 4 numbers, but 3 come in");
    }
}
