`check = dns NAME TYPE` asks DNS servers a question by UDP, and expects an answer of a certain code, address, text or name.
