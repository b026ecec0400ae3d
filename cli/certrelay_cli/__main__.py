from certrelay_cli.main import main

raise SystemExit(main())
