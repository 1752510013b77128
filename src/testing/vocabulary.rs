//! The words that made-up prose is made of, each list from common to rare.

/// People and things that do something.
pub const SUBJECTS: &str = "I we my_neighbour the_family_upstairs our_group somebody the_couple_next_door my_sister \
    the_kids the_library the_food_bank a_friend_of_mine my_partner the_volunteers our_building the_school my_mother \
    the_landlord the_parents two_of_us the_garden_team everyone my_roommate the_clinic the_new_tenants my_brother \
    the_whole_street a_retired_teacher the_organisers my_grandmother the_church the_cooks the_drivers a_student \
    the_night_shift our_committee the_shelter the_electrician a_nurse the_café_owner the_cyclists my_cousin \
    the_tenants_union the_bakery the_caretaker";

/// What they do.
pub const VERBS: &str = "needed had wanted found could_use brought can_lend looked_for offered borrowed fixed asked_for \
    gave_away picked_up shared will_need made dropped_off left collected cleaned returned promised moved sorted painted \
    carried kept built bought forgot repaired stored counted saved sold washed lost planted cooked packed measured \
    unloaded tested ordered replaced taught organised delivered wrapped sewed assembled labelled watered donated mended \
    translated printed charged patched sanded insulated harvested pruned refilled rescued sharpened catalogued \
    photographed transported";

/// Things.
pub const NOUNS: &str = "help time food ride table bed car house box key groceries bike phone money chair room ladder van \
    coat water bread dinner child dog letter form tool drill garden kitchen window door fridge sofa shelf soup blanket \
    medicine appointment lamp stove heater mattress computer laptop printer stroller crib diapers toys books clothes \
    shoes boots jacket winter_coat rice beans vegetables tomatoes apples potatoes eggs milk coffee tea sugar flour oil \
    salt pan pot kettle oven freezer dishes plates cups bottle bucket broom vacuum soap towels sheets pillow curtain rug \
    paint brush hammer saw screws nails wrench pliers tape rope wire cable battery charger bulb fuse pipe tap sink \
    toilet shower boiler radiator roof fence gate path stairs wall floor ceiling balcony yard compost seeds soil shovel \
    rake hose wheelbarrow pruner lawnmower basket bag suitcase backpack umbrella helmet lock pump tyre tube chain saddle \
    trailer truck bus train ticket map passport visa paper envelope stamp contract lease bill receipt loan deposit rent \
    budget savings donation voucher card list plan schedule calendar meeting class lesson workshop course exam homework \
    language translation interpreter interview job resume uniform tools_for_the_shop wheelchair walker crutches cane \
    glasses hearing_aid thermometer bandages vitamins mask prescription clinic_visit vaccine cat rabbit hamster leash \
    crate aquarium guitar piano violin drum speaker microphone camera projector screen tent sleeping_bag stove_fuel \
    lantern canoe ball net jersey trophy puzzle chess_set sewing_machine fabric yarn needles buttons zipper pattern loom \
    clay kiln easel canvas frame mirror clock radio router antenna modem keyboard monitor mouse memory_stick scanner \
    toner stapler binder notebook pencils crayons scissors glue ribbon candles balloons cake casserole lasagna dumplings \
    curry salad sandwiches jam honey cheese yoghurt butter lentils chickpeas noodles spices garlic onions peppers \
    carrots cabbage squash pumpkins berries peaches plums walnuts oats cereal formula wipes thermos cooler grill \
    firewood matches extinguisher detector first_aid_kit generator tarp sandbags";

/// How things are.
pub const ADJECTIVES: &str = "old new small big good spare free extra used second-hand heavy clean warm broken cheap quiet \
    fresh safe large simple local blue green red white black wooden metal electric foldable sturdy gentle patient \
    friendly careful honest early late quick slow easy difficult urgent temporary regular weekly monthly homemade frozen \
    dry wet cold hot sharp dull rusty shiny soft hard round square narrow wide tall short long thick thin light dark \
    empty full half-full unopened expired organic vegetarian gluten-free donated borrowed repaired unusual reliable \
    portable waterproof adjustable enormous tiny faded bright noisy ancient modern delicate fragile complete missing";

/// What surnames are made of.
pub const SYLLABLES: &str = "ko li var ben dor sha mi ra tel on ash wick ford el na bo ri ton gar der is mo ley pa quin za \
    hu stein berg ac mur ti sun ye cor vel dan gru";

/// Where it happens.
pub const PLACES: &str = "at_home near_the_park at_the_library by_the_station on_our_street in_the_basement at_the_school \
    downtown behind_the_church at_the_market on_the_third_floor in_the_courtyard across_the_river at_the_clinic next_door \
    in_the_garage by_the_bus_stop at_the_corner_shop on_Elm_Street in_the_old_mill at_the_community_centre by_the_canal \
    on_Harbour_Road near_the_hospital in_Northfield at_the_allotments under_the_bridge on_Maple_Avenue \
    in_the_laundry_room at_the_fire_station on_Quarry_Lane near_the_cemetery in_Eastgate by_the_playground \
    at_the_town_hall on_Linden_Square behind_the_supermarket in_the_attic at_the_ferry_dock on_Mill_Hill by_the_orchard \
    in_Westbrook at_the_youth_club near_the_stadium on_Chestnut_Row in_the_greenhouse";

/// When.
pub const TIMES: &str = "today tomorrow this_week on_Saturday on_Sunday after_work in_the_morning next_week tonight on_Monday \
    on_Friday this_weekend before_noon after_school on_Tuesday every_Wednesday on_Thursday in_the_evening by_the_end_of_the_month \
    until_Friday around_six_o'clock at_half_past_nine before_it_gets_dark during_the_holidays after_the_storm \
    once_the_rain_stops twice_a_month next_spring before_winter over_lunch all_day since_March until_further_notice \
    in_about_two_hours most_afternoons at_short_notice";

/// Words that open a sentence.
pub const OPENERS: &str = "Also Please Actually Right_now Honestly If_that_works Just_so_you_know Sorry Last_year Luckily By_the_way \
    Unfortunately As_I_said On_the_other_hand In_any_case For_now To_be_clear Yesterday Meanwhile Two_weeks_ago As_far_as_I_know \
    Next_time Whatever_happens Strangely_enough After_all Before_I_forget";

/// Words that join two clauses.
pub const JOINTS: &str = "and but so because which_means while although until since unless even_though as_long_as whereas now_that \
    just_in_case as_soon_as";

/// Whole sentences that people write again and again.
pub const COMMONPLACES: &str = "Thank_you_so_much! I_can_help_with_that. Is_this_still_available? Send_me_a_message. \
    No_problem_at_all. Sounds_good. Let_me_know! Count_me_in. What_time_works_for_you? Happy_to_help. See_you_there. \
    I'll_ask_around. Please_don't_hesitate_to_call. Any_news? Still_looking. That_would_be_wonderful. We_did_it! \
    Bumping_this. Take_care. I_live_two_streets_away. Done,_closing_this_now.";

/// First names, for user names and salutations.
pub const NAMES: &str = "alice ben carla dmitri elena farid grace hassan ines jonas kemal lucia marta noor oscar priya quentin \
    rosa samir tanya umar vera wanda xavier yusuf zoe amara bruno chen delia emeka fiona gustav hana ivan jamila kofi lena \
    mateo nadia olga pablo rania stefan thandi ursula viktor wen yara zainab anders bianca cyrus dora eszter felix greta hugo \
    irma joao karim leila milan nils";
