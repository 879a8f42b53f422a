"""Locust's side: it shows a run, starts it and stops it, and never carries a request. What carries
them is the harness's own run, in a process of its own (session). The only place that imports locust
or gevent."""
