//! What is scaled, by which metrics, and what they say when.
//!
//! The controller syncs every 2 s and a little. Windows and periods are odd numbers of seconds, so that their ends fall
//! between two syncs and not on one.

use testcluster::Answer;

/// One Deployment with its autoscaler, in a namespace of its own.
pub struct Series {
    /// The namespace, and in the manifests the prefix of the metrics' names.
    pub name: &'static str,
    /// The replicas at the start.
    pub replicas: i32,
    /// How long after its scheduling a pod is ready.
    pub ready_after: &'static str,
    /// The autoscaler's spec but for what it scales, in YAML, indented by 2.
    pub spec: &'static str,
    /// The metrics in the order of the spec.
    pub metrics: &'static [&'static str],
    /// What a metric says so many seconds after the start, with the names of the running pods.
    pub answer: fn(metric: &str, seconds: f64, running: &[String]) -> Answer,
    /// What the real controller must have done at least once for the series to be worth anything.
    pub seen: &'static [&'static str],
    /// Small changes of the spec, from and to, that the comparison must notice: with any of these the model has to
    /// decide otherwise than the real controller did.
    pub noticed: &'static [(&'static str, &'static str)],
}

impl Series {
    /// The manifest of the autoscaler.
    pub fn manifest(&self) -> String {
        self.manifest_of(self.spec)
    }

    /// The manifest with one part of its spec replaced.
    pub fn altered(&self, (from, to): (&str, &str)) -> String {
        assert!(self.spec.contains(from), "{}: no {from} in the spec", self.name);
        self.manifest_of(&self.spec.replacen(from, to, 1))
    }

    fn manifest_of(&self, spec: &str) -> String {
        format!(
            "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{name: app, namespace: {}}}\nspec:\n  \
             scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: app}}\n{spec}",
            self.name
        )
    }

    /// The manifests of the namespace and the Deployment.
    pub fn target(&self) -> String {
        let Self { name, replicas, ready_after, .. } = self;
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app, namespace: {name}}}\nspec:\n  \
             replicas: {replicas}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
             metadata: {{labels: {{app: {name}}}, annotations: {{testcluster/ready-after: {ready_after}}}}}\n    \
             spec: {{containers: [{{name: serve, image: none}}]}}\n---\n"
        )
    }
}

/// The entry that holds at `seconds`, of entries that each hold from their time on.
fn at<T: Clone>(seconds: f64, steps: &[(f64, T)]) -> T {
    let (first, rest) = steps.split_first().expect("a series has steps");
    rest.iter().take_while(|(from, _)| *from <= seconds).last().unwrap_or(first).1.clone()
}

/// One value, in whole units.
fn value(units: f64) -> Answer {
    Answer::Values(vec![(units * 1000.0).round() as i64])
}

const MISSING: Answer = Answer::Status(404);
const BROKEN: Answer = Answer::Status(500);
const NONE: Answer = Answer::Values(Vec::new());

/// Two metrics of which one fails at times, in every way in which it can.
const ONE_OF_TWO_FAILS: Series = Series {
    name: "one-of-two-fails",
    replicas: 4,
    ready_after: "1s",
    spec: "\x20 minReplicas: 1
  maxReplicas: 20
  metrics:
  - {type: External, external: {metric: {name: left}, target: {type: AverageValue, averageValue: 1}}}
  - {type: External, external: {metric: {name: right}, target: {type: AverageValue, averageValue: 1}}}
  behavior: {scaleDown: {stabilizationWindowSeconds: 7}}
",
    metrics: &["left", "right"],
    answer: |metric, seconds, _| match metric {
        "left" => at(
            seconds,
            &[
                (0.0, value(4.0)),
                (15.0, MISSING),
                (50.0, value(3.0)),
                // Both metrics are there before and after this fall, so that the window is in its way: a sync without
                // a recommendation leaves none behind.
                (58.0, value(5.0)),
                (64.0, value(3.0)),
                (85.0, value(6.0)),
                (110.0, value(2.0)),
                (130.0, BROKEN),
                (150.0, value(2.0)),
                (185.0, MISSING),
            ],
        ),
        _ => at(
            seconds,
            &[
                (0.0, value(4.0)),
                (15.0, value(8.0)),
                (30.0, value(3.0)),
                (78.0, NONE),
                (95.0, BROKEN),
                (120.0, MISSING),
                (150.0, value(5.0)),
                (170.0, NONE),
                (185.0, value(9.0)),
            ],
        ),
    },
    seen: &["up", "down", "up beside a failed metric", "held by a failed metric", "all metrics failed"],
    noticed: &[
        ("stabilizationWindowSeconds: 7", "stabilizationWindowSeconds: 11"),
        (
            "name: right}, target: {type: AverageValue, averageValue: 1",
            "name: right}, target: {type: AverageValue, averageValue: 900m",
        ),
    ],
};

/// The least of two policies both ways, over periods of several syncs that count the other direction's changes too.
const LEAST_OF_POLICIES: Series = Series {
    name: "least-of-policies",
    replicas: 2,
    ready_after: "1s",
    spec: "\x20 minReplicas: 1
  maxReplicas: 40
  metrics:
  - {type: External, external: {metric: {name: load}, target: {type: AverageValue, averageValue: 1}}}
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 0
      selectPolicy: Min
      policies: [{type: Percent, value: 50, periodSeconds: 15}, {type: Pods, value: 3, periodSeconds: 9}]
    scaleDown:
      stabilizationWindowSeconds: 0
      selectPolicy: Min
      policies: [{type: Pods, value: 2, periodSeconds: 11}, {type: Percent, value: 30, periodSeconds: 21}]
",
    metrics: &["load"],
    answer: |_, seconds, _| {
        at(
            seconds,
            &[(0.0, 2.0), (7.0, 30.0), (70.0, 3.0), (95.0, 25.0), (115.0, 1.0), (160.0, 12.0), (175.0, 2.0)]
                .map(|(from, load)| (from, value(load))),
        )
    },
    seen: &["up", "down", "ScaleUpLimit", "ScaleDownLimit"],
    noticed: &[
        ("selectPolicy: Min\n      policies: [{type: Percent", "selectPolicy: Max\n      policies: [{type: Percent"),
        ("selectPolicy: Min\n      policies: [{type: Pods", "selectPolicy: Max\n      policies: [{type: Pods"),
        ("periodSeconds: 15", "periodSeconds: 11"),
        ("periodSeconds: 9", "periodSeconds: 13"),
        ("periodSeconds: 11", "periodSeconds: 15"),
        ("periodSeconds: 21", "periodSeconds: 15"),
        ("value: 30", "value: 40"),
    ],
};

/// Windows both ways, and loads that turn around sooner and later than those.
const BOTH_WINDOWS: Series = Series {
    name: "both-windows",
    replicas: 6,
    ready_after: "1s",
    spec: "\x20 minReplicas: 1
  maxReplicas: 30
  metrics:
  - {type: External, external: {metric: {name: load}, target: {type: AverageValue, averageValue: 1}}}
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 9
      policies: [{type: Pods, value: 5, periodSeconds: 5}]
    scaleDown:
      stabilizationWindowSeconds: 15
      policies: [{type: Percent, value: 60, periodSeconds: 7}]
",
    metrics: &["load"],
    answer: |_, seconds, _| {
        at(
            seconds,
            &[
                (0.0, 6.0),
                (8.0, 2.0),
                (30.0, 9.0),
                (50.0, 3.0),
                (56.0, 12.0),
                (63.0, 3.0),
                (85.0, 10.0),
                (104.0, 2.0),
                (121.0, 11.0),
                (135.0, 1.0),
                (139.0, 14.0),
                (143.0, 4.0),
                (147.0, 16.0),
                (165.0, 2.0),
                (183.0, 20.0),
            ]
            .map(|(from, load)| (from, value(load))),
        )
    },
    seen: &["up", "down", "ScaleUpStabilized", "ScaleDownStabilized", "up within 15 s of a fall"],
    noticed: &[
        ("stabilizationWindowSeconds: 9", "stabilizationWindowSeconds: 5"),
        ("stabilizationWindowSeconds: 15", "stabilizationWindowSeconds: 11"),
        ("periodSeconds: 5", "periodSeconds: 9"),
        ("value: 60", "value: 50"),
    ],
};

/// A Pods metric of pods that take 8 s to start: one has no value at times, at times there is no metric at all.
const SLOW_PODS: Series = Series {
    name: "slow-pods",
    replicas: 3,
    ready_after: "8s",
    spec: "\x20 minReplicas: 1
  maxReplicas: 14
  metrics:
  - {type: Pods, pods: {metric: {name: queue}, target: {type: AverageValue, averageValue: 1}}}
  behavior:
    scaleUp: {policies: [{type: Pods, value: 3, periodSeconds: 5}]}
    scaleDown: {stabilizationWindowSeconds: 9}
",
    metrics: &["queue"],
    answer: |_, seconds, running| {
        // The load is shared by the pods that run: they decide what each has.
        let load = at(
            seconds,
            &[
                (0.0, 3.0),
                (10.0, 7.5),
                (45.0, 4.0),
                (75.0, 11.0),
                (110.0, 5.0),
                (135.0, 5.4),
                (150.0, 10.0),
                (175.0, 3.0),
            ],
        );
        let milli = (load * 1000.0 / running.len().max(1) as f64).round() as i64;
        let mut values: Vec<(String, i64)> = running.iter().map(|pod| (pod.clone(), milli)).collect();
        match at(
            seconds,
            &[
                (0.0, "all"),
                (22.0, "first missing"),
                (34.0, "all"),
                (50.0, "first missing"),
                (65.0, "gone"),
                (75.0, "all"),
                (80.0, "first missing"),
                (98.0, "a stranger"),
                (104.0, "all"),
                (116.0, "empty"),
                (124.0, "first missing"),
                (130.0, "all"),
                (154.0, "first missing"),
                (166.0, "gone"),
                (172.0, "all"),
            ],
        ) {
            "gone" => return MISSING,
            "empty" => values.clear(),
            "first missing" if values.len() > 1 => drop(values.remove(0)),
            // A value of a pod that is not the Deployment's, such as one just deleted.
            "a stranger" => values.push(("stranger".to_owned(), 2 * milli)),
            _ => {}
        }
        Answer::Pods(values)
    },
    seen: &["up", "down", "pods not ready", "pods without a value", "all metrics failed", "ScaleUpLimit"],
    noticed: &[
        ("stabilizationWindowSeconds: 9", "stabilizationWindowSeconds: 5"),
        ("averageValue: 1", "averageValue: 1100m"),
        ("value: 3", "value: 4"),
    ],
};

/// A target of type Value, which multiplies the ready pods, with a tolerance for each direction; of so many pods that
/// a twentieth of them is one.
const VALUE_AND_TOLERANCES: Series = Series {
    name: "value-and-tolerances",
    replicas: 30,
    ready_after: "3s",
    spec: "\x20 minReplicas: 2
  maxReplicas: 40
  metrics:
  - {type: External, external: {metric: {name: latency}, target: {type: Value, value: 2}}}
  behavior:
    scaleUp:
      tolerance: 300m
      policies: [{type: Pods, value: 4, periodSeconds: 7}]
    scaleDown:
      stabilizationWindowSeconds: 0
      tolerance: 50m
      policies: [{type: Pods, value: 1, periodSeconds: 3}]
",
    metrics: &["latency"],
    answer: |_, seconds, _| {
        at(
            seconds,
            &[
                (0.0, 2.0),
                // 1.25 of the target and 0.96 of it: within.
                (10.0, 2.5),
                (25.0, 1.92),
                // 1.3 is within, a little more is not.
                (40.0, 2.6),
                (50.0, 2.61),
                (62.0, 2.0),
                // 0.95 is within, a little less is not: ten hundredths would be the default.
                (75.0, 1.9),
                (85.0, 1.89),
                (95.0, 1.7),
                (110.0, 1.4),
                (130.0, 3.1),
                (150.0, 2.59),
                (160.0, 1.2),
                (185.0, 9.0),
            ]
            .map(|(from, latency)| (from, value(latency))),
        )
    },
    seen: &["up", "down", "ScaleUpLimit", "ScaleDownLimit", "held above the target", "held below the target"],
    noticed: &[
        ("tolerance: 300m", "tolerance: 310m"),
        ("tolerance: 300m", "tolerance: 290m"),
        ("tolerance: 50m", "tolerance: 100m"),
        ("tolerance: 50m", "tolerance: 45m"),
        ("periodSeconds: 7", "periodSeconds: 11"),
    ],
};

/// An Object metric beside an External one of several series, with nothing but a window set in `behavior`.
const OBJECT_AND_SUM: Series = Series {
    name: "object-and-sum",
    replicas: 3,
    ready_after: "4s",
    spec: "\x20 minReplicas: 1
  maxReplicas: 24
  metrics:
  - type: Object
    object:
      describedObject: {apiVersion: v1, kind: Service, name: front}
      metric: {name: waiting}
      target: {type: Value, value: 10}
  - {type: External, external: {metric: {name: streams}, target: {type: AverageValue, averageValue: 500m}}}
  behavior: {scaleDown: {stabilizationWindowSeconds: 5}}
",
    metrics: &["waiting", "streams"],
    answer: |metric, seconds, _| match metric {
        "waiting" => at(
            seconds,
            &[
                (0.0, value(10.0)),
                (20.0, value(14.0)),
                (32.0, value(5.0)),
                (60.0, NONE),
                (101.0, value(10.9)),
                (110.0, value(11.1)),
                (120.0, value(2.0)),
                (165.0, value(30.0)),
                (175.0, value(8.0)),
            ],
        ),
        _ => {
            let streams: &[i64] = at(
                seconds,
                &[
                    (0.0, &[500, 400, 600][..]),
                    (10.0, &[1000, 1500]),
                    (45.0, &[700]),
                    (75.0, &[700, 700, 0, 2100]),
                    (95.0, &[300, 300]),
                    (140.0, &[4000, 4000, 4000]),
                    (150.0, &[100, 1]),
                ],
            );
            Answer::Values(streams.to_vec())
        }
    },
    seen: &["up", "down", "ScaleUpLimit", "ScaleDownStabilized", "held by a failed metric"],
    noticed: &[
        ("stabilizationWindowSeconds: 5", "stabilizationWindowSeconds: 9"),
        ("value: 10", "value: 11"),
        ("averageValue: 500m", "averageValue: 600m"),
    ],
};

/// All of them.
pub const ALL: [&Series; 6] =
    [&ONE_OF_TWO_FAILS, &LEAST_OF_POLICIES, &BOTH_WINDOWS, &SLOW_PODS, &VALUE_AND_TOLERANCES, &OBJECT_AND_SUM];
