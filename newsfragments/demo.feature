Small demo servers for HTTP, TCP and UDP stand in a `[demo NAME]` section; `POST /down` and `POST /up` make one fail and recover.
