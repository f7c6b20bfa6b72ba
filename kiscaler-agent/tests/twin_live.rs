//! The twin behind a real Deployment on a real API server: its endpoints follow what kubectl does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod processes;

use std::time::Duration;

use processes::{Agent, cluster, cluster_with, deployment, eventually, get, repository, series, total};
use testcluster::{Answer, MetricsServer};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn its_endpoints_follow_the_pods_and_at_the_end_it_reports() {
    let Some(cluster) = cluster("The twin on a real API server", 2) else { return };
    cluster.kubectl(&["apply", "--filename", "-"], Some(&deployment("triton", 2, "1s"))).unwrap();
    cluster.kubectl(&["wait", "deployment/triton", "--for=condition=Available", "--timeout=60s"], None).unwrap();

    // A target that is not there is said before anything else.
    let missing = Agent::start(&cluster, &["twin", "--target", "deploy/tritno", "--listen", "127.0.0.1:0"]);
    let said = {
        eventually("it ends", PATIENCE, || missing.said().iter().any(|l| l.starts_with("kiscaler-agent: ")));
        missing.said().join("\n")
    };
    assert!(said.contains("cannot read the scale of deploy/tritno in namespace default"), "{said}");
    assert_eq!(missing.end(), (Some(2), String::new()));

    let arguments = ["twin", "default", "--target", "deploy/triton", "--speed", "4", "--format", "json"];
    let twin = Agent::start(&cluster, &[&arguments[..], &["--listen", "127.0.0.1:0"]].concat());
    let address = twin.address();
    let metrics = || get(&address, "/metrics").1;
    eventually("two pods serve", PATIENCE, || series(&metrics(), "istio_requests_total") == 2);
    let pods = cluster.kubectl(&["get", "pods", "--output", "name"], None).unwrap();
    for pod in pods.lines().map(|line| line.trim_start_matches("pod/")) {
        let (status, text) = get(&address, &format!("/pods/{pod}/metrics"));
        assert_eq!(status, 200, "{text}");
        assert!(text.contains(&format!("istio_requests_total{{namespace=\"default\",pod=\"{pod}\"")), "{text}");
    }
    assert_eq!(get(&address, "/pods/nobody/metrics").0, 404);
    assert_eq!(get(&address, "/metrics").1.matches("# TYPE istio_requests_total counter").count(), 1);

    // Requests come at the scenario's rate, four times as fast: 300 of the day's beginning and 300 of the walk.
    let (before, clock) = (total(&metrics(), "istio_requests_total"), std::time::Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    let rate = (total(&metrics(), "istio_requests_total") - before) / clock.elapsed().as_secs_f64() / 4.0;
    assert!((200.0..1_500.0).contains(&rate), "{rate} requests a second of the scenario");

    cluster.kubectl(&["scale", "deployment/triton", "--replicas=5"], None).unwrap();
    eventually("five pods serve", PATIENCE, || series(&metrics(), "istio_requests_total") == 5);
    cluster.kubectl(&["scale", "deployment/triton", "--replicas=1"], None).unwrap();
    eventually("one pod serves", PATIENCE, || series(&metrics(), "istio_requests_total") == 1);
    let still: Vec<String> = cluster
        .kubectl(&["get", "pods", "--output", "name"], None)
        .unwrap()
        .lines()
        .map(|line| line.trim_start_matches("pod/").to_owned())
        .collect();
    assert!(metrics().contains(&format!("pod=\"{}\"", still[0])), "the one that kubectl lists");

    // A pod that is replaced is another one, with counters of its own.
    cluster.kubectl(&["delete", "pod", &still[0], "--wait=false"], None).unwrap();
    eventually("the new one serves, and it alone", PATIENCE, || {
        let text = metrics();
        series(&text, "istio_requests_total") == 1 && !text.contains(&still[0])
    });

    twin.signal("INT");
    let (status, text) = twin.end();
    assert_eq!(status, Some(0), "{text}");
    let summary: kisim::report::Summary = serde_json::from_str(&text).unwrap();
    assert_eq!((summary.scenario.as_str(), summary.autoscaler.as_str()), ("default", "whoever scales deploy/triton"));
    assert_eq!(summary.churn, 3 + 4, "2 → 5 → 1");
    assert!(summary.requests.completed > 1_000 && summary.cost > 0.0 && summary.duration_s > 12.0, "{summary:?}");
    assert_eq!(summary.pools["gpu"].replicas_max, 5);
}

/// The real HPA controller, told of the twin by a metrics API, as KEDA's or an adapter's would tell it.
#[test]
fn the_real_hpa_scales_what_it_sees_of_the_twin() {
    let Some(cluster) = cluster_with("The twin and the real HPA", 3, Duration::from_secs(2)) else { return };
    cluster.kubectl(&["apply", "--filename", "-"], Some(&deployment("triton", 3, "3s"))).unwrap();
    cluster.kubectl(&["wait", "deployment/triton", "--for=condition=Available", "--timeout=60s"], None).unwrap();
    let scenario = repository("scenarios/spike.toml").display().to_string();
    let arguments = ["twin", &scenario, "--target", "deploy/triton", "--speed", "10", "--format", "json"];
    let twin = Agent::start(&cluster, &[&arguments[..], &["--listen", "127.0.0.1:0"]].concat());
    let address = twin.address();
    let metrics = || get(&address, "/metrics").1;
    eventually("its pods serve", PATIENCE, || series(&metrics(), "istio_requests_in_flight") == 3);

    let asked = address.clone();
    let server = MetricsServer::start(move |question, _| match question.metric.as_str() {
        "requests_in_flight" => {
            let text = get(&asked, "/metrics").1;
            Answer::Values(vec![(total(&text, "istio_requests_in_flight") * 1e3) as i64])
        }
        _ => Answer::Status(404),
    })
    .unwrap();
    server.register(&cluster).unwrap();
    let hpa = r#"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: triton}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: triton}
  minReplicas: 3
  maxReplicas: 12
  metrics:
    - type: External
      external: {metric: {name: requests_in_flight}, target: {type: AverageValue, averageValue: "16"}}
"#;
    cluster.kubectl(&["apply", "--filename", "-"], Some(hpa)).unwrap();

    // The spike comes after half a minute; by then three pods do.
    let replicas =
        || cluster.kubectl(&["get", "deployment/triton", "--output", "jsonpath={.spec.replicas}"], None).unwrap();
    std::thread::sleep(Duration::from_secs(15));
    assert_eq!(replicas(), "3");
    eventually("the HPA asks for many more", Duration::from_secs(60), || replicas().parse::<u32>().unwrap() >= 8);
    eventually("and the twin serves with them", PATIENCE, || series(&metrics(), "istio_requests_in_flight") >= 8);
    eventually("what waited is done", PATIENCE, || total(&metrics(), "nv_inference_pending_request_count") < 100.0);
    twin.signal("TERM");
    let (status, text) = twin.end();
    let summary: kisim::report::Summary = serde_json::from_str(&text).unwrap();
    assert_eq!(status, Some(0));
    assert!(summary.churn >= 5 && summary.pools["gpu"].replicas_max >= 8, "{summary:?}");
}
