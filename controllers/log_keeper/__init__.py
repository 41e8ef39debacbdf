"""Keeps what Elasticsearch is told of logs what is declared: life cycle, pipeline, template."""
