-- gwsmoke, the reference workload, for wrk: wrk -s gwsmoke.lua URL -- [ETAG-OF-4K]
-- A thousand requests in a fixed order, over and over, the same on every machine and for every server:
--   GET of assets 56 % (4 KiB 40, 64 KiB 15, 1 MiB 1), of tiles 24 % (PNG and MVT, four each), a Range of 64 KiB 7 %, conditional GET 7 %, conditional HEAD 6 %.
-- HEAD is conditional, as wrk waits for a body after any other answer to HEAD; at a fixed rate, which loads.py runs, they are answered with 200.
-- The paths are those that content.py makes. With an entity tag of the 4 KiB asset the conditional ones have it, else `*`.

dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "done.lua")

local SHARES = {
   { 400, "GET", "/edge/assets/site/4k" },
   { 150, "GET", "/edge/assets/site/64k" },
   { 10, "GET", "/edge/assets/site/1m" },
   { 30, "GET", "/edge/assets/png/3/2/2" },
   { 30, "GET", "/edge/assets/png/3/3/2" },
   { 30, "GET", "/edge/assets/png/3/2/3" },
   { 30, "GET", "/edge/assets/png/3/3/3" },
   { 30, "GET", "/edge/assets/mvt/3/2/2" },
   { 30, "GET", "/edge/assets/mvt/3/3/2" },
   { 30, "GET", "/edge/assets/mvt/3/2/3" },
   { 30, "GET", "/edge/assets/mvt/3/3/3" },
   { 60, "HEAD", "/edge/assets/site/4k" },
   { 70, "RANGE", "/edge/assets/site/8m" },
   { 70, "CONDITIONAL", "/edge/assets/site/4k" },
}

local list, at = {}, 0

-- Park and Miller's generator: integers that a double holds exactly, so the order is the same in every Lua.
local seed = 20251
local function random(below)
   seed = seed * 16807 % 2147483647
   return seed % below
end

local function request_of(kind, path, tag)
   local method = kind == "HEAD" and "HEAD" or "GET"
   local headers = { ["Host"] = wrk.headers["Host"], ["Accept-Encoding"] = "gzip" }
   if kind == "RANGE" then
      headers["Range"] = "bytes=1048576-1114111"
   elseif kind ~= "GET" then
      headers["If-None-Match"] = tag
   end
   return wrk.format(method, path, headers)
end

function init(args)
   for _, share in ipairs(SHARES) do
      local bytes = request_of(share[2], share[3], args[1] or "*")
      for _ = 1, share[1] do
         list[#list + 1] = bytes
      end
   end
   for last = #list, 2, -1 do
      local other = random(last) + 1
      list[last], list[other] = list[other], list[last]
   end
end

function request()
   at = at % #list + 1
   return list[at]
end
