//! Somebody who answers as Prometheus does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What was asked: the fields of the form.
pub(crate) type Form = HashMap<String, String>;

/// What a series says at a time, seconds; nothing where it is not there.
pub(crate) type Value<'a> = &'a dyn Fn(f64) -> Option<f64>;

/// Serves until the test ends.
pub(crate) struct FakePrometheus {
    pub(crate) url: String,
    pub(crate) asked: Arc<Mutex<Vec<Form>>>,
}

impl FakePrometheus {
    /// Answers with what `answer` makes of the number of the question and the question; `None` never answers.
    pub(crate) async fn start(
        answer: impl Fn(usize, &Form) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> FakePrometheus {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (all, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
                tokio::spawn(async move {
                    let (mut request, mut part) = (Vec::new(), [0; 4096]);
                    // A form follows the head; all of it ends with the timeout.
                    while !String::from_utf8_lossy(&request).contains("timeout=") {
                        match stream.read(&mut part).await.unwrap_or(0) {
                            0 => return,
                            read => request.extend_from_slice(&part[..read]),
                        }
                    }
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let form = text.split("\r\n\r\n").nth(1).unwrap_or_default();
                    let form: Form = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
                    let number = {
                        let mut all = all.lock().unwrap();
                        all.push(form.clone());
                        all.len() - 1
                    };
                    let Some((status, body)) = answer(number, &form) else { return std::future::pending().await };
                    let length = body.len();
                    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                    let _ = stream.write_all((head + &body).as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        FakePrometheus { url, asked }
    }
}

/// When a question is about, seconds: from one time to another.
pub(crate) fn range(form: &Form) -> (f64, f64) {
    let (now, query) = (form["time"].parse::<f64>().unwrap(), &form["query"]);
    let range = query.rsplit_once('[').unwrap().1.trim_end_matches("ms]").parse::<f64>().unwrap();
    (now - range / 1e3, now)
}

/// An answer of series, each with labels and a value at a time; their samples are `apart` seconds apart, at whole multiples
/// of it.
pub(crate) fn answer(form: &Form, apart: u64, series: &[(&str, Value<'_>)]) -> (u16, String) {
    let (from, to) = range(form);
    let result: Vec<_> = series
        .iter()
        .map(|(labels, value)| {
            let metric: HashMap<&str, &str> = labels.split(',').filter_map(|label| label.split_once('=')).collect();
            let times = ((from / apart as f64).ceil() as u64..).map(|n| (n * apart) as f64).take_while(|&at| at <= to);
            let values: Vec<_> = times.filter_map(|at| Some((at, value(at)?.to_string()))).collect();
            json!({"metric": metric, "values": values})
        })
        .filter(|series| series["values"].as_array().is_some_and(|values| !values.is_empty()))
        .collect();
    (200, json!({"status": "success", "data": {"resultType": "matrix", "result": result}}).to_string())
}
