"""The generated regions of the documents: each module turns JSON files under results/ into Markdown."""
