-- wrk: one request over and over. wrk -s one.lua URL -- METHOD "Name: value" …
-- The request is put together once, so no Lua runs between two of them. What comes out is one line of JSON: see done.lua.

dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "done.lua")

function init(args)
   wrk.method = args[1] or "GET"
   for at = 2, #args do
      local name, value = args[at]:match("^([^:]+):%s*(.*)$")
      wrk.headers[name] = value
   end
end
