"""One worker process per card of this host, kept running.

supervise ─► inventory: which cards
    │
    └─► a post per card ─► child: one worker process, from the environment that is current
          │                  └ watch: asks it how it is, and what it has done
          ├ restarts: when to start the next one, and when the card is taken out
          ├ losses:   what a dead child held goes back to the ledger at once
          └ roll:     the next environment, one card at a time
"""
