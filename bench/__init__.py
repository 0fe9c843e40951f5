"""Measurements beside Apache Kafka, in one run on one machine: figures are ratios, and nothing here is a test."""
