A reload changes a pool in place: servers that stay keep their verdict, work in flight, counters and what lbctl set, those removed end their work, and no table or turn starts anew.
