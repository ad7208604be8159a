"""A small stand-in of the WebUI's `modules`, over the miniature's weights.

It imitates only what the contract proves on the real one. Names and signatures are AUTOMATIC1111's (v1.9.4, v1.10.1);
the bodies are not.
"""
