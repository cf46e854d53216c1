"""The command line: what people and scripts type. `authsvc.__main__` loads a room here when its command is run.

`serve` the life of a server · `migrate` the schema · `secrets` the deployment secrets · `health` a probe · `user`,
`client`, `session`, `key`, `explain`, `audit` administration, a file a subject · `dev` everything embedded, with
`demo` and the `tour`

Behind the administration: `connection` reaches a server · `failure` every way in which a command ends badly, and its
exit status; `refusal` makes one of what a server refuses · `offline` works on the database without a server, `schema`
sees to it that it can · `options`, `output`, `password`, `key_file` what they
take and give

Exit statuses: 0 done · 1 refused · 2 wrong use or settings · 3 no answer, try again. `health` has its own.
"""
