"""What a person looks through in a browser, a page at a time; nothing here writes.

study_list (searched and filtered), study_history (when a study came, what was made of it, what was not used and why),
outbox_list (deliveries and why they wait), changes (whether anything was committed since).
"""
