"""The run: its plan, the flow, the estimate and the results document."""
