"""Renewal: what is due, the sweep that finds it, replacements, forecasts, alerts and the daily digest."""
